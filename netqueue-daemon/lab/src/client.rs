//! The client of the commands, for code that waits for each answer.
//! Call it from the daemon's network namespace: the lab's own namespaces do not reach the daemon.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use netqueue_api::Envelope;
use netqueue_cli::client::{Access, Client, Query, Server as Address};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

/// A daemon to query.
#[derive(Clone, Debug)]
pub(super) struct Server {
    client: Client,
    runtime: Arc<Runtime>,
}

impl Server {
    /// Parses a URL as the commands do.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let address: Address = url.parse().map_err(|wrong| anyhow!("--server {url}: {wrong}"))?;
        // Answers are waited for in the calling thread, of which no other may enter another namespace.
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot start")?;
        Ok(Self { client: Client::new(address, &Access::default())?, runtime: Arc::new(runtime) })
    }

    /// The address of the daemon.
    pub(super) const fn address(&self) -> &Address {
        self.client.server()
    }

    /// Fetches the body of an answer, whatever its format; any status but 200 is an error.
    pub(super) fn get(&self, path: &str) -> Result<Vec<u8>> {
        Ok(self.runtime.block_on(self.client.body_of(&Query::new(path)))?.to_vec())
    }

    /// Fetches and parses an answer of the API.
    pub(super) fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<Envelope<T>> {
        Ok(self.runtime.block_on(self.client.get(&Query::new(path)))?.envelope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_url_is_refused_by_name() {
        let error = Server::parse("ftp://here").unwrap_err().to_string();
        assert!(error.starts_with("--server ftp://here: expected http://"), "{error}");
        assert_eq!(Server::parse("127.0.0.1:81").unwrap().address().port(), 81);
    }
}
