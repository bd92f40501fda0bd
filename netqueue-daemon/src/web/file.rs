//! Web configuration file, in the format of the Prometheus exporter-toolkit: TLS, users, headers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

/// Reason why the web configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("web configuration {}: {message}", path.display())]
pub struct WebConfigError {
    /// Path of the file given by `--web.config.file`.
    path: PathBuf,
    /// Description of what is wrong in it, and what would be right.
    message: String,
}

/// Contents of the file; every key is optional.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebFile {
    pub(super) tls_server_config: Option<TlsSection>,
    pub(super) http_server_config: HttpSection,
    /// Bcrypt hashes by user name.
    pub(super) basic_auth_users: BTreeMap<String, String>,
}

/// Section `tls_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct TlsSection {
    pub(super) cert: Option<String>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key: Option<String>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) client_ca_file: Option<PathBuf>,
    pub(super) client_allowed_sans: Vec<String>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) cipher_suites: Vec<String>,
    /// Accepted without effect: the server's order always takes precedence.
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) curve_preferences: Vec<String>,
}

/// Section `http_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HttpSection {
    /// Accepted without effect: netqueue speaks HTTP/1.1 only.
    pub(super) http2: Option<bool>,
    /// Headers added to every response.
    pub(super) headers: BTreeMap<String, String>,
}

impl WebFile {
    /// Reads the file; paths in it are relative to its directory.
    pub(super) fn read(path: &Path) -> Result<Self, WebConfigError> {
        let text =
            fs::read_to_string(path).map_err(|error| wrong(path, format!("cannot be read: {error}")))?;
        let mut file = Self::parse(&text).map_err(|message| wrong(path, message))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        if let Some(tls) = &mut file.tls_server_config {
            for named in
                [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file].into_iter().flatten()
            {
                *named = folder.join(&*named);
            }
        }
        Ok(file)
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // A file of comments alone is null.
        serde_yaml_ng::from_str::<Option<Self>>(text)
            .map(Option::unwrap_or_default)
            .map_err(|e| e.to_string())
    }

    /// Returns the files that it refers to, whose change is a change of the configuration.
    pub(super) fn names(&self) -> impl Iterator<Item = &Path> {
        let tls = self.tls_server_config.as_ref();
        tls.into_iter()
            .flat_map(|tls| [&tls.cert_file, &tls.key_file, &tls.client_ca_file])
            .flatten()
            .map(PathBuf::as_path)
    }
}

/// Makes the error for the file at `path`.
pub(super) fn wrong(path: &Path, message: String) -> WebConfigError {
    WebConfigError { path: path.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_and_one_of_comments_set_nothing() {
        for text in ["", "\n", "# nothing yet\n"] {
            let file = WebFile::parse(text).expect("nothing is wrong with it");
            assert!(file.tls_server_config.is_none() && file.basic_auth_users.is_empty());
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = WebFile::parse("basic_auth_user:\n  alice: x\n").expect_err("it is misspelt");
        assert!(error.contains("basic_auth_user"), "{error}");
    }

    #[test]
    fn files_are_found_beside_the_configuration() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("web.yml");
        fs::write(&path, "tls_server_config: {cert_file: a.crt, key_file: /etc/b.key}\n").expect("written");
        let file = WebFile::read(&path).expect("it is right");
        let names: Vec<_> = file.names().map(Path::to_owned).collect();
        assert_eq!(names, [folder.path().join("a.crt"), PathBuf::from("/etc/b.key")]);
    }
}
