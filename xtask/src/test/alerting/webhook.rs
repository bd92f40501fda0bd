//! Receives Alertmanager's notifications, and stores the alerts that fired.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

/// A receiver on this host's loopback.
pub(super) struct Webhook {
    address: SocketAddr,
    fired: Arc<Mutex<Vec<Alert>>>,
}

/// An alert that fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alert {
    pub(super) name: String,
    /// All labels, in Alertmanager's own order.
    pub(super) labels: String,
    /// Time of its first notification.
    pub(super) at: Instant,
}

impl Webhook {
    /// Listens until the process ends.
    pub(super) fn listen() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let fired = Arc::new(Mutex::new(Vec::<Alert>::new()));
        let kept = Arc::clone(&fired);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Alertmanager repeats a notification that was not answered.
                let alerts = take(stream).unwrap_or_default();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                for alert in alerts {
                    if !kept.iter().any(|known| known.labels == alert.labels) {
                        kept.push(alert);
                    }
                }
            }
        });
        Ok(Self { address, fired })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns everything that has fired so far, each once.
    pub(super) fn firing(&self) -> Vec<Alert> {
        self.fired.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers one notification, and returns the alerts in it that fire.
fn take(stream: TcpStream) -> Result<Vec<Alert>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
    let body: Value = serde_json::from_slice(&body)?;
    let alerts = body["alerts"].as_array().cloned().unwrap_or_default();
    let firing = alerts.iter().filter(|alert| alert["status"] == "firing");
    Ok(firing
        .map(|alert| Alert {
            name: alert["labels"]["alertname"].as_str().unwrap_or_default().to_owned(),
            labels: alert["labels"].to_string(),
            at: Instant::now(),
        })
        .collect())
}
