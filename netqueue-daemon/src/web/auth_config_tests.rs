//! Tests with real certificates, a real client, and real files that change.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Parser as _;
use netqueue_cli::client::{Access, Client, Query, Version};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{AuthConfig, Exposure, bind};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed")
}

/// Issues a certificate for `name`; returns it and its key, in PEM.
fn issue(authority: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

/// Makes a directory with a server's certificate, its authority and `web.yml`.
fn folder(authority: &Authority, web: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = issue(authority, "localhost");
    for (name, text) in
        [("tls.crt", certificate.as_str()), ("tls.key", &key), ("ca.crt", &authority.pem()), ("web.yml", web)]
    {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

async fn serve(web: &Path) -> (SocketAddr, Arc<AuthConfig>) {
    let secured = Arc::new(AuthConfig::read(Some(web)).expect("a web configuration"));
    let server = bind((Ipv4Addr::LOCALHOST, 0).into(), Arc::clone(&secured)).expect("a free port");
    let address = server.local_addr();
    let exposure = Exposure {
        address,
        telemetry_path: "/metrics".to_owned(),
        allow_unauthenticated: false,
        hostnames: Vec::new(),
    };
    let status = get(async || r#"{"status":"success","data":{"version":"0"}}"#);
    let router = Router::new()
        .route("/metrics", get(async || "42"))
        .route("/", get(async || "hello"))
        .route("/api/v1/status", status);
    tokio::spawn(server.serve(router, exposure, std::future::pending()));
    (address, secured)
}

/// Sends a request and returns the response; empty if the connection was refused.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str, more: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}connection: close\r\n\r\n");
    let mut answer = String::new();
    if stream.write_all(head.as_bytes()).await.is_ok() {
        let _cut = stream.read_to_string(&mut answer).await;
    }
    answer
}

async fn plain(address: SocketAddr, path: &str, more: &str) -> String {
    exchange(TcpStream::connect(address).await.expect("connected"), path, more).await
}

async fn over_tls(address: SocketAddr, authority: &Authority, client: Option<(String, String)>) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate")],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key"),
            )
            .expect("they fit"),
    };
    let stream = TcpStream::connect(address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => exchange(stream, "/", "").await,
        Err(_refused) => String::new(),
    }
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_and_nothing_else() {
    let authority = authority();
    let folder = folder(
        &authority,
        "tls_server_config: {cert_file: tls.crt, key_file: tls.key, min_version: TLS13}\n\
         http_server_config: {headers: {Strict-Transport-Security: max-age=1}}\n",
    );
    let (address, _) = serve(&folder.path().join("web.yml")).await;
    let answer = over_tls(address, &authority, None).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=1"), "{answer}");
    assert!(!plain(address, "/", "").await.contains("200 OK"));
}

#[tokio::test]
async fn a_client_certificate_of_the_right_authority_and_name_is_asked_for() {
    let (authority, stranger) = (authority(), authority());
    let folder = folder(
        &authority,
        "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n  client_ca_file: ca.crt\n  \
         client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example]\n",
    );
    let (address, _) = serve(&folder.path().join("web.yml")).await;
    let scraper = issue(&authority, "prometheus.example");
    assert!(over_tls(address, &authority, Some(scraper)).await.ends_with("hello"));
    assert_eq!(over_tls(address, &authority, None).await, "");
    assert_eq!(over_tls(address, &authority, Some(issue(&stranger, "prometheus.example"))).await, "");
    assert_eq!(over_tls(address, &authority, Some(issue(&authority, "somebody.example"))).await, "");
}

/// Requests the version from there as `netqueue status` with these options does.
async fn ask(address: SocketAddr, options: &[&str]) -> Result<Version, String> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        access: Access,
    }
    let line = Line::try_parse_from(std::iter::once(&"netqueue").chain(options)).expect("options");
    let server = format!("https://{address}").parse().expect("a server");
    let client = Client::new(server, &line.access).map_err(|error| error.to_string())?;
    let answer = client.get::<Version>(&Query::new("/api/v1/status")).await;
    answer.map(|answer| answer.envelope.data).map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_command_line_gets_in_by_certificate_and_password_and_says_which_is_missing() {
    let authority = authority();
    let folder = folder(
        &authority,
        &format!(
            "tls_server_config:\n  cert_file: tls.crt\n  key_file: tls.key\n  client_auth_type: RequireAndVerifyClientCert\n  \
             client_ca_file: ca.crt\nbasic_auth_users:\n  ops: {}\n",
            bcrypt::hash("secret", 4).expect("hashed")
        ),
    );
    let (certificate, key) = issue(&authority, "ops.example");
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, text) in
        [("me.crt", certificate.as_str()), ("me.key", &key), ("password", "secret\n"), ("old", "other")]
    {
        fs::write(path(name), text).expect("written");
    }
    let (address, _) = serve(&folder.path().join("web.yml")).await;
    let (ca, crt, me, password, old) =
        (path("ca.crt"), path("me.crt"), path("me.key"), path("password"), path("old"));
    let trusting = ["--server-ca", &ca, "--server-name", "localhost"];
    let shown = [&trusting[..], &["--client-cert", &crt, "--client-key", &me]].concat();
    let whole = |file| [&shown[..], &["--user", "ops", "--password-file", file]].concat();
    assert_eq!(ask(address, &whole(password.as_str())).await.expect("let in").version, "0");
    let wrong = ask(address, &whole(old.as_str())).await.expect_err("another password");
    assert!(wrong.contains("--password-file"), "{wrong}");
    let unknown = ask(address, &trusting).await.expect_err("no certificate");
    assert!(unknown.contains("--client-cert") || unknown.contains("broke off"), "{unknown}");
    let stranger = ask(address, &["--server-ca", &ca]).await.expect_err("another name");
    assert!(stranger.contains("--server-name"), "{stranger}");
}

#[tokio::test]
async fn users_are_asked_for_their_password_and_a_changed_file_is_in_force_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let web = folder.path().join("web.yml");
    let users = |password: &str| {
        format!("basic_auth_users:\n  prom: {}\n", bcrypt::hash(password, 4).expect("hashed"))
    };
    let basic =
        |password: &str| format!("authorization: Basic {}\r\n", STANDARD.encode(format!("prom:{password}")));
    fs::write(&web, users("one")).expect("written");
    let (address, secured) = serve(&web).await;
    for (path, more, status) in [
        ("/metrics", basic("one"), "200"),
        ("/metrics", basic("two"), "401"),
        ("/metrics", String::new(), "401"),
        ("/", basic("one"), "200"),
        ("/-/healthy", String::new(), "401"),
    ] {
        let answer = plain(address, path, &more).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path} {more}: {answer}");
    }
    assert!(plain(address, "/", "").await.contains("www-authenticate: Basic realm"));

    fs::write(&web, users("another")).expect("written");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(plain(address, "/", &basic("another")).await.starts_with("HTTP/1.1 200"));
    assert!(plain(address, "/", &basic("one")).await.starts_with("HTTP/1.1 401"));

    fs::write(&web, "basic_auth_users: {prom: in the clear}\n").expect("written");
    let error = secured.reload().expect_err("it is no hash").to_string();
    assert!(error.contains("web.yml") && error.contains("prom"), "{error}");
    assert!(plain(address, "/", &basic("another")).await.starts_with("HTTP/1.1 200"));
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_what_would_be_right() {
    let authority = authority();
    let tls = "tls_server_config: {cert_file: tls.crt, key_file: tls.key";
    for (web, complaint) in [
        ("tls_server_config: {cert_file: tls.crt}\n".to_owned(), "key_file (or key) is missing"),
        ("tls_server_config: {cert_file: no.crt, key_file: tls.key}\n".to_owned(), "no.crt cannot be read"),
        ("tls_server_config: {cert_file: tls.key, key_file: tls.key}\n".to_owned(), "holds no certificate"),
        (format!("{tls}, min_version: TLS10}}\n"), "expected TLS12 or TLS13"),
        (format!("{tls}, min_version: TLS13, max_version: TLS12}}\n"), "above max_version"),
        (format!("{tls}, client_ca_file: ca.crt}}\n"), "set RequireAndVerifyClientCert"),
        (format!("{tls}, client_auth_type: RequireAndVerifyClientCert}}\n"), "needs client_ca_file"),
        (format!("{tls}, client_auth_type: RequireAnyClientCert}}\n"), "verifies nothing"),
        (format!("{tls}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}\n"), "is none of TLS_ECDHE"),
        (format!("{tls}, curve_preferences: [CurveP521]}}\n"), "is none of X25519"),
        (format!("{tls}, client_allowed_sans: [a]}}\n"), "client_allowed_sans needs"),
        ("http_server_config: {headers: {\"a b\": c}}\n".to_owned(), "is no HTTP header"),
        ("tls_server: {}\n".to_owned(), "unknown field `tls_server`"),
    ] {
        let folder = folder(&authority, &web);
        let error = AuthConfig::read(Some(&folder.path().join("web.yml"))).expect_err(&web).to_string();
        assert!(error.contains("web.yml") && error.contains(complaint), "{web}{error}");
    }
    let suites =
        format!("{tls}, cipher_suites: [TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305], max_version: TLS12}}\n");
    let folder = folder(&authority, &suites);
    assert!(AuthConfig::read(Some(&folder.path().join("web.yml"))).is_ok(), "Go's names are known");
}
