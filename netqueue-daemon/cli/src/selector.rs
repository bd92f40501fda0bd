//! Selectors by which a user names listeners: port, address and port, process, unit, container, pod,
//! network namespace, or ID.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use netqueue_api::{AccountKind, Listener, Owner, Subject};

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
    /// `container:0123456789ab`: the beginning of its id.
    Container(String),
    /// `pod:7d9f`: the beginning of its uid.
    Pod(String),
    /// `netns:blue`: the name or inode number of a network namespace.
    Netns(String),
}

impl Selector {
    /// Returns whether the selector matches `listener`.
    #[must_use]
    pub fn admits(&self, listener: &Listener) -> bool {
        match self {
            Self::Port(port) => listener.port == Some(*port),
            Self::Address(at) => listener.port == Some(at.port()) && takes(listener, at.ip()),
            Self::ClientPorts(addr) => {
                listener.kind == AccountKind::Ephemeral && listener.addr == Some(*addr)
            }
            Self::Id(id) => listener.id == *id,
            Self::Process(name) => listener.process == *name,
            Self::Pid(pid) => owners(listener).any(|owner| owner.pid == *pid),
            Self::Unit(unit) => owners(listener).any(|owner| owner.unit.as_ref() == Some(unit)),
            Self::Container(id) => {
                owners(listener).any(|owner| owner.container.as_ref().is_some_and(|own| own.starts_with(id)))
            }
            Self::Pod(uid) => {
                owners(listener).any(|owner| owner.pod.as_ref().is_some_and(|own| own.starts_with(uid)))
            }
            Self::Netns(name) => listener.netns == *name || listener.netns_inode.to_string() == *name,
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
            // Subjects name neither: the rows of their listeners do.
            Self::Container(_) | Self::Pod(_) => false,
            Self::Netns(name) => {
                let inode = subject.netns_inode.map(|inode| inode.to_string());
                subject.netns.as_ref() == Some(name) || inode.as_ref() == Some(name)
            }
        }
    }
}

fn owners(listener: &Listener) -> impl Iterator<Item = &Owner> {
    listener.listener.iter().flat_map(|socket| socket.owners.iter().flatten())
}

/// Returns whether connections to that address belong to the account: its own address, or a listener
/// on every address of that family.
pub(super) fn takes(listener: &Listener, asked: IpAddr) -> bool {
    let Some(own) = listener.addr else { return false };
    if own == asked {
        return true;
    }
    if listener.kind != AccountKind::Listener || !own.is_unspecified() {
        return false;
    }
    let family = listener.listener.as_ref().map_or("", |socket| socket.family.as_str());
    own.is_ipv4() == asked.is_ipv4()
        || own.is_ipv6() && ["dual_stack", "ipv6_or_dual_stack"].contains(&family)
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected a port (80), an address and port (0.0.0.0:80, [::]:80, 127.0.0.1:* for client ports), an id (id:7), a process (nginx, pid:812), a unit (nginx.service), a container (container:0123456789ab), a pod (pod:7d9f) or a network namespace (netns:blue)";
        if let Some(id) = text.strip_prefix("id:").filter(|id| !id.is_empty()) {
            return Ok(Self::Id(id.to_owned()));
        }
        let named = |kind: &str, of: fn(String) -> Self| {
            let name = text.strip_prefix(kind)?;
            Some(if name.is_empty() { Err(expected.to_owned()) } else { Ok(of(name.to_owned())) })
        };
        let named = named("container:", Self::Container)
            .or_else(|| named("pod:", Self::Pod))
            .or_else(|| named("netns:", Self::Netns));
        if let Some(named) = named {
            return named;
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
            Self::Container(id) => write!(f, "container {id}"),
            Self::Pod(uid) => write!(f, "pod {uid}"),
            Self::Netns(name) => write!(f, "network namespace {name}"),
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
            ("container:0123", Selector::Container("0123".into())),
            ("pod:7d9f", Selector::Pod("7d9f".into())),
            ("netns:blue", Selector::Netns("blue".into())),
            ("nginx: worker", Selector::Process("nginx: worker".into())),
        ] {
            assert_eq!(text.parse(), Ok(selector), "{text}");
        }
        for wrong in ["", "65536", "10.0.0.1", "id:", "pid:nginx", "pod:"] {
            let error = wrong.parse::<Selector>().expect_err(wrong);
            assert!(error.contains("a port (80)"), "{error}");
        }
    }

    fn listener(addr: &str, family: &str) -> Listener {
        serde_json::from_value(serde_json::json!({
            "id": "7", "kind": "listener", "netns": "blue", "netns_inode": 9, "addr": addr, "port": 8139, "process": "api",
            "drops": {"total": 0, "by_cause": []}, "resets": {"total": 0, "by_cause": []},
            "listener": {"family": family, "owners": [
                {"pid": 812, "comm": "api", "unit": "api.service", "container": "0123456789ab", "pod": "7d9f-1"},
            ]},
        }))
        .expect("a listener")
    }

    #[test]
    fn the_address_of_a_client_error_finds_the_listener_that_serves_it() {
        let admits = |text: &str, addr: &str, family: &str| {
            text.parse::<Selector>().expect(text).admits(&listener(addr, family))
        };
        assert!(admits("10.8.0.5:8139", "::", "dual_stack") && admits("10.8.0.5:8139", "0.0.0.0", "ipv4"));
        assert!(admits("0.0.0.0:8139", "::", "dual_stack") && admits("[2001:db8::5]:8139", "::", "ipv6"));
        assert!(!admits("10.8.0.5:8139", "::", "ipv6") && !admits("[2001:db8::5]:8139", "0.0.0.0", "ipv4"));
        assert!(!admits("10.8.0.5:8139", "10.8.0.6", "ipv4") && !admits("10.8.0.5:8140", "0.0.0.0", "ipv4"));
    }

    #[test]
    fn whatever_the_rows_of_listeners_show_finds_them() {
        let row = listener("0.0.0.0", "ipv4");
        for shown in [
            "8139",
            "id:7",
            "api",
            "pid:812",
            "api.service",
            "container:0123",
            "pod:7d9f",
            "netns:blue",
            "netns:9",
        ] {
            assert!(shown.parse::<Selector>().expect(shown).admits(&row), "{shown}");
        }
    }
}
