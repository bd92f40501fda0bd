//! Access to a daemon that requires TLS, a client certificate, or a user and a password.

use std::{fs, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use hyper::header::HeaderValue;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio_rustls::TlsConnector;

use super::Server;
use crate::pem;

/// Command-line options that grant access to a daemon.
#[derive(Clone, Debug, Default, Args)]
pub struct Access {
    /// CA certificates in PEM that must have signed the daemon's certificate, instead of the system's
    #[arg(long, env = "NETQUEUE_SERVER_CA", value_name = "FILE", help_heading = HEADING)]
    server_ca: Option<PathBuf>,
    /// The name that the daemon's certificate must carry, if it differs from the URL's
    #[arg(long, env = "NETQUEUE_SERVER_NAME", value_name = "NAME", help_heading = HEADING)]
    server_name: Option<String>,
    /// The client certificate to present to the daemon, in PEM
    #[arg(long, env = "NETQUEUE_CLIENT_CERT", value_name = "FILE", requires = "client_key", help_heading = HEADING)]
    client_cert: Option<PathBuf>,
    /// The private key of --client-cert, in PEM
    #[arg(long, env = "NETQUEUE_CLIENT_KEY", value_name = "FILE", requires = "client_cert", help_heading = HEADING)]
    client_key: Option<PathBuf>,
    /// User name for HTTP basic authentication
    #[arg(long, env = "NETQUEUE_USER", value_name = "NAME", requires = "password_file", help_heading = HEADING)]
    user: Option<String>,
    /// A file that contains the user's password
    #[arg(long, env = "NETQUEUE_PASSWORD_FILE", value_name = "FILE", requires = "user", help_heading = HEADING)]
    password_file: Option<PathBuf>,
}

const HEADING: &str = "Daemon and output";

/// Credentials of a connection: TLS and the authorization header.
#[derive(Clone, Default)]
pub(super) struct Pass {
    /// The TLS connector and the server name to verify; `None` for plain HTTP.
    pub(super) tls: Option<(TlsConnector, ServerName<'static>)>,
    /// The value of the `Authorization` header.
    pub(super) authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tls, authorization } = self;
        f.debug_struct("Pass")
            .field("tls", &tls.as_ref().map(|(_, name)| name))
            .field("authorization", &authorization.as_ref().map(|_| "..."))
            .finish()
    }
}

impl Access {
    /// Reads the files that the options name.
    ///
    /// # Errors
    /// Returns a message if a file is unreadable or has the wrong content, or if an option contradicts
    /// the URL.
    pub(super) fn pass(&self, server: &Server) -> Result<Pass, String> {
        let tls = server.is_https();
        if !tls && [&self.server_ca, &self.client_cert].iter().any(|file| file.is_some()) {
            return Err(format!("certificates are for a server at https://, and {server} is none"));
        }
        Ok(Pass {
            tls: if tls { Some(self.tls(server)?) } else { None },
            authorization: self.authorization(server)?,
        })
    }

    fn tls(&self, server: &Server) -> Result<(TlsConnector, ServerName<'static>), String> {
        let name = self.server_name.as_deref().unwrap_or_else(|| server.host());
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("{name:?} is neither a DNS name nor an IP address: see --server-name"))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(self.roots()?);
        let mut config = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let chain = certificates("--client-cert", certificate)?;
                let key = PrivateKeyDer::from_pem_slice(&read("--client-key", key)?).map_err(|error| {
                    format!("--client-key: {} holds no private key in PEM: {error}", key.display())
                })?;
                config
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| format!("--client-cert and --client-key do not fit: {error}"))?
            }
            _ => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((TlsConnector::from(Arc::new(config)), name))
    }

    /// Loads the CA certificates that must have signed the server's certificate.
    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.server_ca else {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            return if roots.is_empty() {
                Err("no certificates that this system trusts were found: --server-ca names a file".to_owned())
            } else {
                Ok(roots)
            };
        };
        for certificate in certificates("--server-ca", file)? {
            roots.add(certificate).map_err(|error| format!("--server-ca: {}: {error}", file.display()))?;
        }
        Ok(roots)
    }

    fn authorization(&self, server: &Server) -> Result<Option<HeaderValue>, String> {
        let (Some(user), Some(file)) = (&self.user, &self.password_file) else { return Ok(None) };
        if !server.is_https() && !server.is_loopback() {
            return Err(format!(
                "a password would go to {server} for everybody on the way to read: use https://"
            ));
        }
        if user.contains(':') {
            return Err("--user: a name has no colon".to_owned());
        }
        let password = String::from_utf8(read("--password-file", file)?)
            .map_err(|_| format!("--password-file: {} is no text", file.display()))?;
        let password = password.trim_end_matches(['\r', '\n']);
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let mut value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn read(option: &str, file: &PathBuf) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{option}: {} cannot be read: {error}", file.display()))
}

fn certificates(option: &str, file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    pem::certificates(&read(option, file)?).map_err(|error| format!("{option}: {} {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn server(url: &str) -> Server {
        url.parse().expect(url)
    }

    fn with_password(file: &Path) -> Access {
        Access { user: Some("ops".into()), password_file: Some(file.into()), ..Access::default() }
    }

    #[test]
    fn a_password_goes_to_loopback_or_over_tls_and_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        fs::write(&file, "secret\n").expect("written");
        let pass = with_password(&file).pass(&server("http://127.0.0.1:1")).expect("loopback");
        let value = pass.authorization.clone().expect("a header");
        assert_eq!(value, format!("Basic {}", STANDARD.encode("ops:secret")));
        assert!(!format!("{pass:?}").contains(&STANDARD.encode("ops:secret")));
        let refused = with_password(&file).pass(&server("http://10.0.0.7:1")).expect_err("in the clear");
        assert!(refused.contains("https://"), "{refused}");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_option() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let access = Access { server_ca: Some(file.clone()), ..Access::default() };
        let missing = access.pass(&server("https://localhost")).expect_err("no file");
        assert!(missing.starts_with("--server-ca: ") && missing.contains("cannot be read"), "{missing}");
        fs::write(&file, "no certificate").expect("written");
        let empty = access.pass(&server("https://localhost")).expect_err("no certificate");
        assert!(empty.contains("holds no certificate in PEM"), "{empty}");
        let plain = access.pass(&server("http://localhost")).expect_err("no TLS");
        assert!(plain.contains("https://"), "{plain}");
    }
}
