//! Conversion of the section `tls_server_config` to a rustls configuration.

use std::{fs, path::Path, sync::Arc};

use netqueue_cli::pem;
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::file::TlsSection;

/// TLS configuration of the server.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) server: Arc<ServerConfig>,
    /// True if clients must present a certificate of the configured authority.
    pub(super) client_required: bool,
    /// Names of which a client's certificate must have one; empty: any certificate will do.
    allowed_sans: Vec<String>,
}

impl Tls {
    /// Builds the configuration from the section.
    pub(super) fn build(section: &TlsSection) -> Result<Self, String> {
        let chain = text("cert", section.cert.as_deref(), section.cert_file.as_deref())?
            .ok_or("tls_server_config: cert_file (or cert) is missing")?;
        let key = text("key", section.key.as_deref(), section.key_file.as_deref())?
            .ok_or("tls_server_config: key_file (or key) is missing")?;
        let chain = certificates("cert", &chain)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| format!("tls_server_config: key holds no private key in PEM: {error}"))?;

        let provider = Arc::new(provider(section)?);
        let (verifier, client_required) = clients(section, &provider)?;
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions(section)?)
            .map_err(|error| format!("tls_server_config: {error}"))?;
        let server = match verifier {
            Some(verifier) => server.with_client_cert_verifier(verifier),
            None => server.with_no_client_auth(),
        };
        let mut server = server
            .with_single_cert(chain, key)
            .map_err(|error| format!("tls_server_config: the certificate and the key do not fit: {error}"))?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        let allowed_sans = section.client_allowed_sans.clone();
        if !allowed_sans.is_empty() && !client_required {
            return Err("tls_server_config: client_allowed_sans needs \
                        client_auth_type RequireAndVerifyClientCert"
                .to_owned());
        }
        if let Some(odd) = allowed_sans.iter().find(|san| san.contains('@') || is_address(san)) {
            return Err(format!(
                "tls_server_config: client_allowed_sans: {odd:?} is neither a DNS name nor a URI"
            ));
        }
        Ok(Self { server: Arc::new(server), client_required, allowed_sans })
    }

    /// Returns whether a client with this verified certificate chain is admitted.
    pub(super) fn admits(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        if self.allowed_sans.is_empty() {
            return true;
        }
        let certificate =
            chain.and_then(<[_]>::first).and_then(|der| webpki::EndEntityCert::try_from(der).ok());
        certificate.is_some_and(|certificate| {
            certificate
                .valid_dns_names()
                .chain(certificate.valid_uri_names())
                .any(|name| self.allowed_sans.iter().any(|san| san == name))
        })
    }
}

fn is_address(san: &str) -> bool {
    san.parse::<std::net::IpAddr>().is_ok()
}

/// Returns a value given inline or in a file; both at once is an error.
fn text(key: &str, inline: Option<&str>, file: Option<&Path>) -> Result<Option<String>, String> {
    match (inline, file) {
        (Some(_), Some(_)) => {
            Err(format!("tls_server_config: {key} and {key}_file are both given: keep one"))
        }
        (Some(inline), None) => Ok(Some(inline.to_owned())),
        (None, Some(file)) => fs::read_to_string(file).map(Some).map_err(|error| {
            format!("tls_server_config: {key}_file {} cannot be read: {error}", file.display())
        }),
        (None, None) => Ok(None),
    }
}

fn certificates(key: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    pem::certificates(pem.as_bytes()).map_err(|error| format!("tls_server_config: {key} {error}"))
}

fn versions(section: &TlsSection) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    let rank = |key: &str, value: Option<&str>, default: u8| match value {
        None => Ok(default),
        Some("TLS12") => Ok(2),
        Some("TLS13") => Ok(3),
        Some(other) => Err(format!("tls_server_config: {key} is {other:?}: expected TLS12 or TLS13")),
    };
    let lowest = rank("min_version", section.min_version.as_deref(), 2)?;
    let highest = rank("max_version", section.max_version.as_deref(), 3)?;
    let all = [(2, &TLS12), (3, &TLS13)];
    let chosen: Vec<_> =
        all.into_iter().filter(|(rank, _)| (lowest..=highest).contains(rank)).map(|(_, it)| it).collect();
    if chosen.is_empty() {
        return Err("tls_server_config: min_version is above max_version".to_owned());
    }
    Ok(chosen)
}

/// Returns the ring provider with the configured suites and curves.
/// As in Go, suites of TLS 1.3 cannot be chosen.
fn provider(section: &TlsSection) -> Result<CryptoProvider, String> {
    let mut provider = ring::default_provider();
    if !section.cipher_suites.is_empty() {
        let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
        // Go omits the hash from these two names.
        let same = |wanted: &str, name: &str| name == wanted || name.strip_suffix("_SHA256") == Some(wanted);
        let known: Vec<_> =
            provider.cipher_suites.iter().filter(|it| it.tls13().is_none()).map(name).collect();
        for wanted in &section.cipher_suites {
            if !known.iter().any(|known| same(wanted, known)) {
                let known = known.join(", ");
                return Err(format!("tls_server_config: cipher_suites: {wanted:?} is none of {known}"));
            }
        }
        let chosen = &section.cipher_suites;
        provider.cipher_suites.retain(|suite| {
            suite.tls13().is_some() || chosen.iter().any(|wanted| same(wanted, &name(suite)))
        });
    }
    if !section.curve_preferences.is_empty() {
        let mut groups = Vec::new();
        for wanted in &section.curve_preferences {
            groups.push(match wanted.as_str() {
                "X25519" => ring::kx_group::X25519,
                "CurveP256" => ring::kx_group::SECP256R1,
                "CurveP384" => ring::kx_group::SECP384R1,
                other => {
                    return Err(format!(
                        "tls_server_config: curve_preferences: {other:?} is none of X25519, CurveP256, CurveP384"
                    ));
                }
            });
        }
        provider.kx_groups = groups;
    }
    Ok(provider)
}

/// Returns the verifier of client certificates, and whether clients must present one.
fn clients(
    section: &TlsSection,
    provider: &Arc<CryptoProvider>,
) -> Result<(Option<Arc<dyn ClientCertVerifier>>, bool), String> {
    let authority = text("client_ca", section.client_ca.as_deref(), section.client_ca_file.as_deref())?;
    let required = match section.client_auth_type.as_deref() {
        None | Some("" | "NoClientCert") => {
            return match authority {
                None => Ok((None, false)),
                Some(_) => {
                    Err("tls_server_config: client_ca_file is given, and client_auth_type asks no client \
                                for a certificate: set RequireAndVerifyClientCert"
                        .to_owned())
                }
            };
        }
        Some("VerifyClientCertIfGiven") => false,
        Some("RequireAndVerifyClientCert") => true,
        Some(other @ ("RequestClientCert" | "RequireAnyClientCert")) => {
            return Err(format!(
                "tls_server_config: client_auth_type {other} verifies nothing: use RequireAndVerifyClientCert, \
                 VerifyClientCertIfGiven or NoClientCert"
            ));
        }
        Some(other) => {
            return Err(format!(
                "tls_server_config: client_auth_type is {other:?}: expected NoClientCert, VerifyClientCertIfGiven \
                 or RequireAndVerifyClientCert"
            ));
        }
    };
    let authority =
        authority.ok_or("tls_server_config: client_auth_type needs client_ca_file (or client_ca)")?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca", &authority)? {
        roots.add(certificate).map_err(|error| format!("tls_server_config: client_ca: {error}"))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    let verifier = builder.build().map_err(|error| format!("tls_server_config: client_ca: {error}"))?;
    Ok((Some(verifier), required))
}
