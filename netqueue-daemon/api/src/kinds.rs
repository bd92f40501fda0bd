//! Words by which clients decide, as types: a newer word fits no arm written for an older one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Defines a type of the words that a member may contain; any other word is newer than the client.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$means:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$means])* $variant,)*
            /// A word that this version does not know.
            Unknown(String),
        }

        impl $name {
            /// All words that this version knows.
            pub const WORDS: &[&str] = &[$($word),*];

            /// Returns the word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Unknown(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    newer => Self::Unknown(newer.to_owned()),
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                Self::from(word.as_str())
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> Self {
                word.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }
    };
}

words! {
    /// Kind of an account.
    AccountKind {
        /// One listening socket.
        Listener = "listener",
        /// A local address and port that sent resets which concern no listener.
        Endpoint = "endpoint",
        /// All client ports of a local address.
        Ephemeral = "ephemeral",
        /// Drops and resets of a network namespace that found no free slot.
        Other = "other",
        /// The sum of accounts that ended long ago.
        Gone = "gone",
    }
}

words! {
    /// Kind of an event.
    EventKind {
        /// A packet of a handshake was dropped.
        Drop = "drop",
        /// A reset was sent.
        Reset = "reset",
    }
}

words! {
    /// Impact of an incident on clients, the worst first.
    Impact {
        /// Clients were never served.
        NeverServed = "never_served",
        /// Clients were reset.
        Reset = "reset",
        /// Clients were served late.
        Delayed = "delayed",
        /// netqueue may not see everything.
        Unseen = "unseen",
        /// No legitimate client noticed.
        Absorbed = "absorbed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_read_as_it_is_written_and_a_newer_one_is_kept() {
        for word in AccountKind::WORDS.iter().copied().chain(["raw_socket"]) {
            let kind = AccountKind::from(word);
            assert_eq!((kind.as_str(), String::from(kind.clone())), (word, word.to_owned()));
            assert_eq!(matches!(kind, AccountKind::Unknown(_)), word == "raw_socket");
        }
    }
}
