//! Web configuration in force: read at the start, and again whenever one of its files changes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    file::{WebConfigError, WebFile, wrong},
    tls::Tls,
    users::Users,
};

/// Shortest interval between two checks of the files.
const LOOK: Duration = Duration::from_secs(1);

/// Web configuration in force, and the state of its files.
#[derive(Debug)]
pub struct AuthConfig {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<Current>,
    stamps: Vec<Stamp>,
    looked: Instant,
}

/// Configuration as read once.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) tls: Option<Tls>,
    pub(super) users: Users,
    /// Headers added to every response.
    pub(super) headers: HeaderMap,
    files: Vec<PathBuf>,
}

/// Modification time and size of a file, by which a change is detected; `None` if it cannot be read.
type Stamp = Option<(SystemTime, u64)>;

impl AuthConfig {
    /// Reads the file, if one is named.
    ///
    /// # Errors
    ///
    /// The file, or one that it refers to, cannot be used; the error names it with the reason.
    pub fn read(path: Option<&Path>) -> Result<Self, WebConfigError> {
        let current = Current::read(path)?;
        let stamps = stamps(&current.files);
        let state = State { current: Arc::new(current), stamps, looked: Instant::now() };
        Ok(Self { path: path.map(Path::to_owned), state: Mutex::new(state) })
    }

    /// Returns whether every client must authenticate.
    #[must_use]
    pub fn authenticates(&self) -> bool {
        self.current().authenticates()
    }

    /// Reads everything again now. If it cannot be used, the previous configuration stays in force.
    ///
    /// # Errors
    ///
    /// As for [`Self::read`].
    pub fn reload(&self) -> Result<(), WebConfigError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.reread(&mut state)
    }

    /// Returns the configuration in force, reread if its files have changed.
    pub(super) fn current(&self) -> Arc<Current> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.path.is_some() && state.looked.elapsed() >= LOOK {
            state.looked = Instant::now();
            if stamps(&state.current.files) != state.stamps {
                match self.reread(&mut state) {
                    Ok(()) => tracing::info!("the web configuration has changed and is in force"),
                    Err(error) => {
                        tracing::error!(%error, "the web configuration has changed and is not used")
                    }
                }
            }
        }
        Arc::clone(&state.current)
    }

    fn reread(&self, state: &mut State) -> Result<(), WebConfigError> {
        // Before reading, so that a change meanwhile is detected by the next check; and after a failure too,
        // or every request would try and log it again.
        state.stamps = stamps(&state.current.files);
        let current = Current::read(self.path.as_deref())?;
        state.stamps = stamps(&current.files);
        state.current = Arc::new(current);
        Ok(())
    }
}

impl Current {
    fn read(path: Option<&Path>) -> Result<Self, WebConfigError> {
        let file = path.map(WebFile::read).transpose()?.unwrap_or_default();
        let files = path.into_iter().chain(file.names()).map(Path::to_owned).collect();
        Self::build(file, files).map_err(|message| wrong(path.unwrap_or(Path::new("")), message))
    }

    fn build(file: WebFile, files: Vec<PathBuf>) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &file.http_server_config.headers {
            let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            let (name, value) =
                header.ok_or_else(|| format!("http_server_config: headers: {name:?} is no HTTP header"))?;
            headers.insert(name, value);
        }
        let tls = file.tls_server_config.as_ref().map(Tls::build).transpose()?;
        Ok(Self { tls, users: Users::new(file.basic_auth_users)?, headers, files })
    }

    pub(super) fn authenticates(&self) -> bool {
        !self.users.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.client_required)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let meta = fs::metadata(file).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    files.iter().map(stamp).collect()
}
