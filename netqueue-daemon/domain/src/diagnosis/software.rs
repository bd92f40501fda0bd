//! Defaults of well-known server software, and where to change them.

/// Defaults of one program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Software {
    /// Names of the program's processes.
    pub(super) names: &'static [&'static str],
    /// Default backlog argument on Linux; `None` if it is as large as somaxconn allows.
    pub(super) backlog: Option<u32>,
    /// Setting of the backlog, and the step that brings it into force.
    pub(super) backlog_set_by: &'static str,
    /// Setting of the idle time-out.
    pub(super) idle_set_by: &'static str,
    /// Setting of the program's own limit of connections, with its default.
    /// At the limit it stops accepting, or accepts and serves later.
    pub(super) connections_set_by: Option<&'static str>,
}

pub(super) const KNOWN: &[Software] = &[
    Software {
        names: &["nginx", "openresty", "tengine", "angie"],
        backlog: Some(511),
        backlog_set_by: "`listen PORT backlog=N;`, then nginx -s reload, which calls listen() again",
        idle_set_by: "keepalive_timeout (and keepalive_requests) in the http, server or location block",
        connections_set_by: Some("worker_connections in the events block (512 for each worker)"),
    },
    Software {
        names: &["apache2", "httpd"],
        backlog: Some(511),
        backlog_set_by: "ListenBacklog N, then a restart",
        idle_set_by: "KeepAliveTimeout",
        connections_set_by: Some("MaxRequestWorkers (and ServerLimit)"),
    },
    Software {
        names: &["node", "nodejs"],
        backlog: Some(511),
        backlog_set_by: "the backlog argument of server.listen(), then a restart",
        idle_set_by: "server.keepAliveTimeout",
        connections_set_by: Some("server.maxConnections (none), or the workers of the cluster module"),
    },
    Software {
        names: &["gunicorn"],
        backlog: Some(2048),
        backlog_set_by: "--backlog N, then a restart",
        idle_set_by: "--keep-alive",
        connections_set_by: Some(
            "--workers and --threads; --worker-connections of gevent and eventlet workers (1000)",
        ),
    },
    Software {
        names: &["uvicorn"],
        backlog: Some(2048),
        backlog_set_by: "--backlog N, then a restart",
        idle_set_by: "--timeout-keep-alive",
        connections_set_by: Some("--limit-concurrency (none) and --workers"),
    },
    Software {
        names: &["uwsgi"],
        backlog: Some(100),
        backlog_set_by: "--listen N, then a restart",
        idle_set_by: "http-keepalive",
        connections_set_by: Some("--processes and --threads, or --async"),
    },
    Software {
        names: &["java"],
        backlog: Some(50),
        backlog_set_by: "the backlog argument of ServerSocket, or acceptCount in Tomcat (100), then a restart",
        idle_set_by: "keepAliveTimeout of the connector in Tomcat",
        connections_set_by: Some("maxConnections (8192) and maxThreads (200) of the connector in Tomcat"),
    },
    Software {
        names: &["redis-server", "valkey-server"],
        backlog: Some(511),
        backlog_set_by: "tcp-backlog N, then a restart",
        idle_set_by: "timeout (0: never)",
        connections_set_by: Some("maxclients (10000)"),
    },
    Software {
        names: &["mysqld", "mariadbd"],
        backlog: Some(80),
        backlog_set_by: "back_log=N, then a restart",
        idle_set_by: "wait_timeout",
        connections_set_by: Some("max_connections (151)"),
    },
    Software {
        names: &["haproxy"],
        backlog: None,
        backlog_set_by: "backlog N in the frontend (else maxconn), then a reload",
        idle_set_by: "timeout http-keep-alive, else timeout http-request",
        connections_set_by: Some("maxconn, in the global section and in the frontend"),
    },
    Software {
        names: &["envoy"],
        backlog: None,
        backlog_set_by: "tcp_backlog_size of the listener, then a restart",
        idle_set_by: "idle_timeout of the HTTP connection manager",
        connections_set_by: Some(
            "the overload manager (max_active_downstream_connections) and connection_limit filters",
        ),
    },
    Software {
        names: &["caddy"],
        backlog: None,
        backlog_set_by: "Go uses net.core.somaxconn as it is at the start: raise it, then restart",
        idle_set_by: "the idle time-out of the server",
        connections_set_by: None,
    },
    Software {
        names: &["php-fpm"],
        backlog: Some(511),
        backlog_set_by: "listen.backlog = N in the pool, then a restart",
        idle_set_by: "it keeps no connections",
        connections_set_by: Some("pm.max_children of the pool"),
    },
    Software {
        names: &["memcached"],
        backlog: Some(1024),
        backlog_set_by: "-b N, then a restart",
        idle_set_by: "-o idle_timeout=N (0: never)",
        connections_set_by: Some("-c (1024)"),
    },
    Software {
        names: &["postgres", "postmaster"],
        backlog: None,
        backlog_set_by: "max_connections, twice of which PostgreSQL passes to listen(), then a restart",
        idle_set_by: "idle_session_timeout (0: never)",
        connections_set_by: Some("max_connections (100)"),
    },
    Software {
        names: &["sshd"],
        backlog: Some(128),
        backlog_set_by: "it is fixed in sshd",
        idle_set_by: "ClientAliveInterval and ClientAliveCountMax",
        connections_set_by: Some("MaxStartups (10:30:100 connections that are not authenticated yet)"),
    },
];

/// Returns the software whose process has this name, `php-fpm8.2` and `nginx: worker` included.
pub(super) fn of(process: &str) -> Option<&'static Software> {
    let matches = |name: &str| {
        process.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    KNOWN.iter().find(|software| software.names.iter().any(|name| matches(name)))
}

/// Returns the protocol of this usual port if its clients wait for the server to speak first.
pub(super) fn server_speaks_first(port: u16) -> Option<&'static str> {
    Some(match port {
        21 => "FTP",
        22 => "SSH",
        25 | 465 | 587 => "SMTP",
        110 | 995 => "POP3",
        143 | 993 => "IMAP",
        3306 => "MySQL",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_name_and_not_by_one_that_begins_alike() {
        assert_eq!(of("nginx").and_then(|software| software.backlog), Some(511));
        assert!(of("php-fpm8.2").is_some() && of("nginx: worker").is_some());
        assert!(of("nodelocaldns").is_none() && of("").is_none() && of("javascript").is_none());
    }
}
