//! Reads certificates in PEM, for clients and for the server.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// Parses the certificates in `pem`.
///
/// # Errors
/// Returns a message without subject (`is no PEM: ..`);
/// the caller prefixes the option and the name of the file.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("is no PEM: {error}"))?;
    if found.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(found) }
}
