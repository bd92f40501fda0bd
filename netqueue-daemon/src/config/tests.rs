//! Tests of the precedence of sources, and of error messages.

use std::path::Path;

use clap::{Args as _, Command, FromArgMatches as _, builder::Resettable};

use super::{source::variable, *};

const EXAMPLE: &str = include_str!("../../../deploy/netqueue.example.toml");

fn command() -> Command {
    DaemonArgs::augment_args(Command::new("netqueue"))
}

fn args(given: &[&str]) -> DaemonArgs {
    // The environment of the test run must not matter.
    let command = command().mut_args(|arg| arg.env(Resettable::Reset));
    let matches = command.no_binary_name(true).try_get_matches_from(given).expect("clap takes any text");
    DaemonArgs::from_arg_matches(&matches).expect("arguments")
}

fn file(text: &str) -> ConfigFile {
    ConfigFile::parse(Path::new("/etc/netqueue.toml"), text.to_owned()).expect("a file with known keys")
}

fn config(given: &[&str], text: &str) -> Result<Config, String> {
    Config::resolve(&args(given), &file(text)).map_err(|error| error.to_string())
}

#[test]
fn a_flag_is_stronger_than_the_file_and_the_file_than_the_default() {
    let text = "max-series = 7\nevent-memory = \"1MiB\"\n[web]\nlisten-address = \"[::]:1\"\n";
    let config = config(&["--max-series", "9"], text).expect("all is right");
    let listen_address = "[::]:1".parse().expect("an address");
    assert_eq!(config, Config { max_series: 9, event_memory: 1 << 20, listen_address, ..Config::default() });
}

#[test]
fn the_environment_is_stronger_than_the_file_and_is_named_when_it_is_wrong() {
    let args = args(&["--ring-size", "3MiB"]).given_by_environment("ring-size");
    let error = Config::resolve(&args, &file("ring-size = \"8MiB\"")).expect_err("it is no power of two");
    assert_eq!(
        error.to_string(),
        "environment variable NETQUEUE_RING_SIZE is \"3MiB\": expected a power of two from 4KiB to 1GiB such as 4MiB \
         or 4194304"
    );
}

#[test]
fn every_flag_has_the_environment_variable_messages_name() {
    for arg in command().get_arguments() {
        let flag = arg.get_long().expect("every argument is a flag");
        assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable(flag).as_str()));
    }
}

#[test]
fn the_defaults_in_the_help_are_the_defaults() {
    let mut given = Vec::new();
    for arg in command().get_arguments() {
        let help = arg.get_help().expect("every flag has help").to_string();
        let default = help.split_once("[default: ").and_then(|(_, rest)| rest.split_once(']'));
        if let Some((default, _)) = default {
            given.push(format!("--{}={default}", arg.get_long().expect("a flag")));
        }
    }
    assert_eq!(given.len(), 17);
    let given: Vec<_> = given.iter().map(String::as_str).collect();
    assert_eq!(config(&given, ""), Ok(Config::default()));
    assert_eq!(config(&[], ""), Ok(Config::default()));
}

#[test]
fn the_example_file_sets_every_key_to_its_default() {
    assert_eq!(config(&[], EXAMPLE), Ok(Config::default()));
    for arg in command().get_arguments().filter(|arg| arg.get_long() != Some("config.file")) {
        let flag = arg.get_long().expect("a flag");
        let key = match flag {
            "web.config.file" => "config-file",
            other => other.rsplit_once('.').map_or(other, |(_, key)| key),
        };
        assert!(EXAMPLE.contains(&format!("\n{key} = ")), "{flag} is missing");
    }
}

#[test]
fn wrong_values_name_the_flag_the_value_and_what_would_be_right() {
    for (flag, value, expected) in [
        ("web.listen-address", "localhost:10124", "an IP address and a port"),
        ("web.listen-address", "127.0.0.1", "127.0.0.1:10124"),
        ("web.telemetry-path", "metrics", "beginning with a slash"),
        ("web.telemetry-path", "/", "a path such as /metrics"),
        ("web.telemetry-path", "/api/metrics", "not below /api"),
        ("web.telemetry-path", "/-/metrics", "not below /api, /ui or /-"),
        ("web.telemetry-path", "/ui/metrics", "not below /api, /ui or /-"),
        ("web.telemetry-path", "/{path}", "letters, digits"),
        ("web.telemetry-path", "/a/../b", "a path"),
        ("web.allow-unauthenticated", "yes", "true or false"),
        ("no-accept-wait", "off", "true or false"),
        ("web.hostnames", "web1:10124", "without ports"),
        ("web.hostnames", "web1,,web2", "separated by commas"),
        ("no-owners", "off", "true or false"),
        ("log.level", "verbose", "error, warn, info, debug or trace"),
        ("log.level", "info,hyper=loud", "directives such as"),
        ("log.level", "", "error, warn"),
        ("log.format", "xml", "text or json"),
        ("attach", "uprobe", "auto, fentry or kprobe"),
        ("ring-size", "0", "a power of two"),
        ("ring-size", "2048", "from 4KiB"),
        ("ring-size", "2GiB", "to 1GiB"),
        ("ring-size", "4MB", "such as 4MiB"),
        ("ring-size", "big", "a power of two"),
        ("event-memory", "0", "from 64KiB"),
        ("event-memory", "much", "a size"),
        ("history-memory", "65TiB", "to 64GiB"),
        ("event-rate", "0", "unlimited or a number from 1"),
        ("event-burst", "unlimited", "a number from 1"),
        ("dropped-ack-cache-capacity", "15", "a number from 16"),
        ("keep-closed", "120", "120s or 10m"),
        ("keep-closed", "0s", "from 1s"),
        ("max-listeners", "15", "auto or a number from 16"),
        ("max-series", "-1", "from 1"),
        ("bpf-log", "2", "off, error"),
    ] {
        let error = config(&[&format!("--{flag}={value}")], "").expect_err(value);
        assert!(error.starts_with(&format!("--{flag} is {value:?}: expected ")), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn right_values_are_taken() {
    let given = ["--ring-size=64KiB", "--max-listeners=64", "--bpf-log=debug", "--log.format=json"];
    let taken = config(&given, "[web]\ntelemetry-path = \"/a/b.c\"").expect("all is right");
    assert_eq!((taken.ring_bytes, taken.max_listeners), (65_536, Some(64)));
    assert_eq!((taken.bpf_log, taken.log.format), (Some(tracing::Level::DEBUG), LogFormat::Json));
    assert_eq!(taken.telemetry_path, "/a/b.c");
    for level in ["trace", "off", "info,hyper=warn", "netqueue_daemon[span{field=1}]=debug,error"] {
        assert!(config(&["--log.level", level], "").is_ok(), "{level}");
    }
}

#[test]
fn a_switch_needs_no_value_and_takes_one() {
    for (given, text, wanted) in [
        (&["--web.allow-unauthenticated"][..], "", true),
        (&["--web.allow-unauthenticated=false"], "[web]\nallow-unauthenticated = true\n", false),
        (&[], "[web]\nallow-unauthenticated = true\n", true),
    ] {
        assert_eq!(config(given, text).expect("all is right").allow_unauthenticated, wanted);
    }
}

#[test]
fn wrong_values_in_the_file_name_key_file_and_line() {
    let error = config(&[], "# a comment\n\n[web]\nlisten-address = 80\n").expect_err("no address");
    assert!(
        error.starts_with("`web.listen-address` in /etc/netqueue.toml, line 4, is \"80\": expected"),
        "{error}"
    );
}

#[test]
fn what_the_file_should_not_hold_is_refused_with_its_line() {
    for (text, complaint) in [
        ("max-series = 1\nmax-serie = 2\n", "unknown field `max-serie`, expected one of"),
        ("\n[web]\nport = 1\n", "unknown field `port`"),
        ("max-series = [1]\n", "expected a string, a whole number, true or false"),
        ("max-series\n", "expected"),
        ("max-series = 1\nmax-series = 2\n", "duplicate key"),
    ] {
        let error = ConfigFile::parse(Path::new("/etc/netqueue.toml"), text.to_owned()).expect_err(text);
        let error = error.to_string();
        assert!(error.starts_with("configuration file /etc/netqueue.toml: "), "{error}");
        assert!(error.contains("line ") && error.contains(complaint), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_who_named_it() {
    let args = args(&["--config.file", "/nonexistent/netqueue.toml"]);
    let error = Config::load(&args).expect_err("it is not there");
    assert_eq!(
        error.to_string(),
        "cannot read the configuration file /nonexistent/netqueue.toml, given by --config.file"
    );
}
