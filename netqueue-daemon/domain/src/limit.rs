//! Limits of a listener's queues: the backlog in force, its origin, and the related sysctls.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Known, Unknown};

/// Sysctls of a network namespace that govern its listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctls {
    /// net.core.somaxconn: the largest backlog that a listen() call gets.
    pub somaxconn: Known<u32>,
    /// net.ipv4.tcp_max_syn_backlog.
    pub max_syn_backlog: Known<u32>,
    /// net.ipv4.tcp_syncookies: 0 never, 1 when the SYN queue is full, 2 always.
    pub syncookies: Known<u32>,
    /// net.ipv4.tcp_abort_on_overflow.
    pub abort_on_overflow: Known<u32>,
    /// net.ipv4.tcp_synack_retries.
    pub synack_retries: Known<u32>,
    /// net.ipv4.tcp_fin_timeout, seconds.
    pub fin_timeout: Known<u32>,
    /// net.ipv4.tcp_tw_reuse.
    pub tw_reuse: Known<u32>,
    /// net.ipv4.tcp_migrate_req; from 5.14.
    pub migrate_req: Known<u32>,
}

impl Sysctls {
    /// Creates sysctls of which none is known.
    #[must_use]
    pub const fn unknown(why: Unknown) -> Self {
        Self {
            somaxconn: Err(why),
            max_syn_backlog: Err(why),
            syncookies: Err(why),
            abort_on_overflow: Err(why),
            synack_retries: Err(why),
            fin_timeout: Err(why),
            tw_reuse: Err(why),
            migrate_req: Err(why),
        }
    }

    /// Iterates over the sysctls with the names that `sysctl` uses.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Known<u32>)> {
        [
            ("net.core.somaxconn", self.somaxconn),
            ("net.ipv4.tcp_max_syn_backlog", self.max_syn_backlog),
            ("net.ipv4.tcp_syncookies", self.syncookies),
            ("net.ipv4.tcp_abort_on_overflow", self.abort_on_overflow),
            ("net.ipv4.tcp_synack_retries", self.synack_retries),
            ("net.ipv4.tcp_fin_timeout", self.fin_timeout),
            ("net.ipv4.tcp_tw_reuse", self.tw_reuse),
            ("net.ipv4.tcp_migrate_req", self.migrate_req),
        ]
        .into_iter()
    }

    /// Returns the SYN queue length above which the last-quarter rule drops SYNs of unproven peers. With
    /// cookies off, tcp_conn_request drops them while `max_syn_backlog - qlen < max_syn_backlog >> 2`. `None`
    /// if the rule does not apply.
    #[must_use]
    pub fn last_quarter(&self) -> Option<u32> {
        match (self.syncookies, self.max_syn_backlog) {
            (Ok(0), Ok(most)) => Some(most - (most >> 2)),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => None,
        }
    }
}

/// Limits of a listener's queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Backlog in force. The accept queue takes one connection more; SYNs beyond it are refused, too.
    pub backlog: Known<u32>,
    /// Argument that the program passed to listen().
    pub argument: Known<i32>,
    /// Value of somaxconn when the listener was last seen to call listen(), if it was.
    pub somaxconn_then: Known<u32>,
    /// Current sysctls of the namespace.
    pub sysctls: Arc<Sysctls>,
}

/// Term that decided the backlog in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitedBy {
    /// Argument of listen(), which was not above somaxconn.
    ListenArgument,
    /// net.core.somaxconn, which the argument exceeded, or may have equalled if it is unknown.
    Somaxconn,
    /// net.core.somaxconn as it was: raised since, but the program has not called listen() again.
    EarlierSomaxconn,
    /// Unseen listen() call: its argument, or another value of somaxconn. The program must listen again.
    ListenCall,
    /// Unknown, because the backlog or somaxconn is.
    Unknown,
}

impl LimitedBy {
    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ListenArgument => "listen_argument",
            Self::Somaxconn => "somaxconn",
            Self::EarlierSomaxconn => "earlier_somaxconn",
            Self::ListenCall => "listen_call",
            Self::Unknown => "unknown",
        }
    }
}

impl Limit {
    /// Returns the term that binds, which has to change for the queue to become longer.
    #[must_use]
    pub fn limited_by(&self) -> LimitedBy {
        let Ok(backlog) = self.backlog else { return LimitedBy::Unknown };
        let somaxconn = self.sysctls.somaxconn;
        // The kernel compares the argument as unsigned: a negative one requests the maximum.
        if let Ok(argument) = self.argument {
            return match argument.cast_unsigned() > backlog {
                false => LimitedBy::ListenArgument,
                true if somaxconn.is_ok_and(|now| now > backlog) => LimitedBy::EarlierSomaxconn,
                true => LimitedBy::Somaxconn,
            };
        }
        match (self.somaxconn_then, somaxconn) {
            (Ok(then), _) if backlog < then => LimitedBy::ListenArgument,
            (Ok(then), Ok(now)) if backlog == then && now > then => LimitedBy::EarlierSomaxconn,
            (_, Ok(now)) if backlog < now => LimitedBy::ListenCall,
            (_, Ok(now)) if backlog == now => LimitedBy::Somaxconn,
            (Ok(then), _) if backlog == then => LimitedBy::Somaxconn,
            (_, Ok(_)) => LimitedBy::ListenCall,
            (_, Err(_)) => LimitedBy::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNSEEN: Unknown = Unknown::BeforeAttach;

    fn limited(backlog: u32, argument: Known<i32>, then: Known<u32>, now: u32) -> LimitedBy {
        let sysctls = Sysctls { somaxconn: Ok(now), ..Sysctls::unknown(UNSEEN) };
        Limit { backlog: Ok(backlog), argument, somaxconn_then: then, sysctls: Arc::new(sysctls) }
            .limited_by()
    }

    #[test]
    fn a_raised_somaxconn_does_nothing_until_the_program_listens_again() {
        assert_eq!(limited(128, Ok(511), Ok(128), 128), LimitedBy::Somaxconn);
        assert_eq!(limited(128, Ok(511), Ok(128), 4096), LimitedBy::EarlierSomaxconn);
        assert_eq!(limited(511, Ok(511), Ok(4096), 4096), LimitedBy::ListenArgument);
    }

    #[test]
    fn a_listen_call_nobody_saw_is_not_guessed_at() {
        assert_eq!(limited(128, Err(UNSEEN), Err(UNSEEN), 4096), LimitedBy::ListenCall);
        assert_eq!(limited(4096, Err(UNSEEN), Err(UNSEEN), 4096), LimitedBy::Somaxconn);
        // The namespace's somaxconn was watched while it was raised.
        assert_eq!(limited(128, Err(UNSEEN), Ok(128), 4096), LimitedBy::EarlierSomaxconn);
        // somaxconn was lowered since: the backlog comes from a call under the higher value.
        assert_eq!(limited(4096, Err(UNSEEN), Err(UNSEEN), 128), LimitedBy::ListenCall);
    }

    #[test]
    fn an_argument_equal_to_the_backlog_binds_even_where_somaxconn_is_the_same() {
        assert_eq!(limited(128, Ok(128), Ok(128), 128), LimitedBy::ListenArgument);
        assert_eq!(limited(128, Ok(-1), Ok(128), 128), LimitedBy::Somaxconn);
    }

    #[test]
    fn the_last_quarter_is_kept_only_with_cookies_off() {
        let with = |syncookies, most| Sysctls {
            syncookies: Ok(syncookies),
            max_syn_backlog: Ok(most),
            ..Sysctls::unknown(UNSEEN)
        };
        assert_eq!(with(0, 64).last_quarter(), Some(48));
        assert_eq!(with(0, 8).last_quarter(), Some(6));
        assert_eq!(with(1, 64).last_quarter(), None);
        assert_eq!(Sysctls::unknown(UNSEEN).last_quarter(), None);
    }
}
