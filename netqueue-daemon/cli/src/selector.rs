//! Selectors by which a user names a listener: port, address and port, process, unit, or ID.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use netqueue_api::{AccountKind, Listener, Subject};

/// One or several listeners, as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// `80`.
    Port(u16),
    /// `0.0.0.0:80`, `[::]:80`.
    Address(SocketAddr),
    /// `127.0.0.1:*`: all ports from which this host connects as a client.
    ClientPorts(IpAddr),
    /// `id:7`.
    Id(String),
    /// `nginx`.
    Process(String),
    /// `pid:812`.
    Pid(u32),
    /// `nginx.service`.
    Unit(String),
}

impl Selector {
    /// Returns whether the selector matches `listener`.
    #[must_use]
    pub fn admits(&self, listener: &Listener) -> bool {
        match self {
            Self::Port(port) => listener.port == Some(*port),
            Self::Address(at) => listener.port == Some(at.port()) && listener.addr == Some(at.ip()),
            Self::ClientPorts(addr) => {
                listener.kind == AccountKind::Ephemeral && listener.addr == Some(*addr)
            }
            Self::Id(id) => listener.id == *id,
            Self::Process(name) => listener.process == *name,
            // Only verdicts name PIDs and units; rows of listeners do not.
            Self::Pid(_) | Self::Unit(_) => false,
        }
    }

    /// Returns whether the selector matches the subject of a verdict.
    #[must_use]
    pub fn admits_subject(&self, subject: &Subject) -> bool {
        let process = subject.process.as_ref();
        match self {
            Self::Port(port) => subject.port == Some(*port),
            Self::Address(at) => subject.port == Some(at.port()) && subject.addr == Some(at.ip()),
            Self::ClientPorts(addr) => subject.port.is_none() && subject.addr == Some(*addr),
            Self::Id(id) => subject.listener.as_ref() == Some(id),
            Self::Process(name) => process.is_some_and(|process| process.name == *name),
            Self::Pid(pid) => process.is_some_and(|process| process.pid == *pid),
            Self::Unit(unit) => process.is_some_and(|process| process.unit.as_ref() == Some(unit)),
        }
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a port (80), an address and port (0.0.0.0:80, [::]:80, 127.0.0.1:* for client ports), an id (id:7), a process (nginx, pid:812) or a unit (nginx.service)";
        if let Some(id) = text.strip_prefix("id:").filter(|id| !id.is_empty()) {
            return Ok(Self::Id(id.to_owned()));
        }
        if let Some(pid) = text.strip_prefix("pid:") {
            return pid.parse().map(Self::Pid).map_err(|_| expected.to_owned());
        }
        if [".service", ".scope", ".socket"]
            .iter()
            .any(|kind| text.len() > kind.len() && text.ends_with(kind))
        {
            return Ok(Self::Unit(text.to_owned()));
        }
        if let Ok(port) = text.trim_start_matches(':').parse() {
            return Ok(Self::Port(port));
        }
        if let Ok(at) = text.parse() {
            return Ok(Self::Address(at));
        }
        let host = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        if let Some((addr, port)) = text.rsplit_once(':')
            && let Some(addr) = host(addr)
        {
            let clients = ["*", "ephemeral"].contains(&port);
            return if clients { Ok(Self::ClientPorts(addr)) } else { Err(expected.to_owned()) };
        }
        let strange = text.is_empty()
            || text.bytes().all(|byte| byte.is_ascii_digit())
            || text.parse::<IpAddr>().is_ok()
            || text.starts_with("id:");
        if strange { Err(expected.to_owned()) } else { Ok(Self::Process(text.to_owned())) }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Address(at) => write!(f, "{at}"),
            Self::ClientPorts(addr) => write!(f, "client ports of {addr}"),
            Self::Id(id) => write!(f, "id {id}"),
            Self::Process(name) => write!(f, "process {name}"),
            Self::Pid(pid) => write!(f, "process {pid}"),
            Self::Unit(unit) => write!(f, "unit {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_named_as_people_name_it() {
        for (text, selector) in [
            ("80", Selector::Port(80)),
            (":80", Selector::Port(80)),
            ("127.0.0.1:*", Selector::ClientPorts("127.0.0.1".parse().expect("an address"))),
            ("[::1]:ephemeral", Selector::ClientPorts("::1".parse().expect("an address"))),
            ("[::]:80", Selector::Address("[::]:80".parse().expect("an address"))),
            ("id:7", Selector::Id("7".into())),
            ("pid:812", Selector::Pid(812)),
            ("nginx.service", Selector::Unit("nginx.service".into())),
            ("nginx: worker", Selector::Process("nginx: worker".into())),
        ] {
            assert_eq!(text.parse(), Ok(selector), "{text}");
        }
        for wrong in ["", "65536", "10.0.0.1", "id:", "pid:nginx"] {
            let error = wrong.parse::<Selector>().expect_err(wrong);
            assert!(error.contains("a port (80)"), "{error}");
        }
    }
}
