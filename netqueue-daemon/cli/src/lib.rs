//! netqueue's clients: each queries a running daemon over HTTP, as any other program would.
//! The answers appear in words, in tables, and on the screen of `netqueue top`.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "clients write to the terminal")]

mod beside;
pub mod client;
pub mod client_args;
mod culprits;
mod event_row;
pub mod events;
pub mod exit;
pub mod explain;
pub mod follow;
pub mod format;
mod limits;
pub mod listeners;
pub mod narrative;
pub mod pem;
pub mod resets;
mod scope;
pub mod selector;
pub mod status;
pub mod style;
pub mod table;
pub mod terminal;
pub mod tui;
mod verdicts;
