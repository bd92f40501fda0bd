//! Certificates out of text, as whoever serves and whoever asks read them.

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// The certificates in `pem`.
///
/// # Errors
/// What it is or lacks, to be said after what it was read from.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| format!("is no PEM: {error}"))?;
    if found.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(found) }
}
