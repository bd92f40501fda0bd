//! `netqueue record`: records what a running daemon observes, for `netqueue replay`.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{Instant, interval_at, timeout},
};

use netqueue_cli::exit::NoDaemon;

use crate::{
    api::RECORDING,
    recording::{END, Writer},
};

/// Interval at which everything written so far is made readable.
const FLUSH: Duration = Duration::from_secs(1);
/// Time without data after which the daemon is gone: it sends its health every second.
const SILENCE: Duration = Duration::from_secs(15);

/// Arguments of `netqueue record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// The file to write; it must not exist yet
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The daemon to record
    #[arg(long, value_name = "URL", env = "NETQUEUE_SERVER", default_value = "http://127.0.0.1:10124")]
    server: String,
    /// Seconds after which the recording ends; without it, when it is interrupted or the daemon stops
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Overwrites an existing file
    #[arg(long)]
    force: bool,
}

/// Records until it is interrupted, the time is over, or the daemon stops.
///
/// # Errors
/// The daemon does not answer, or the file cannot be written.
pub fn run(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(record(args))
}

async fn record(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let mut lines = ask(&args.server).await?;
    let mut writer = Writer::new(BufWriter::new(create(&args.file, args.force)?));
    let shown = args.file.display();
    let failed = || format!("cannot write {shown}");
    let end = args.seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut flush = interval_at(Instant::now() + FLUSH, FLUSH);
    let (mut line, mut written, mut complete) = (Vec::new(), 0_u64, false);
    loop {
        tokio::select! {
            // Safe to cancel: the part of a line that was read stays in `line`.
            read = timeout(SILENCE, lines.read_until(b'\n', &mut line)) => {
                let read = read.with_context(|| format!("{} has said nothing for {} s", args.server, SILENCE.as_secs()))?;
                if read.context("the connection to the daemon broke")? == 0 || line.last() != Some(&b'\n') {
                    break;
                }
                line.pop();
                if line == END.as_bytes() {
                    complete = true;
                    break;
                }
                writer.line(&line).with_context(failed)?;
                written += 1;
                line.clear();
            }
            _ = flush.tick() => writer.flush().with_context(failed)?,
            () = ended(end) => { complete = true; break }
            stop = tokio::signal::ctrl_c() => { stop?; complete = true; break }
        }
    }
    if complete {
        writer.line(END.as_bytes()).with_context(failed)?;
    }
    let file = writer.finish().with_context(failed)?.into_inner().with_context(failed)?;
    file.sync_all().with_context(failed)?;
    writeln!(io::stderr().lock(), "{shown}: {} observations", written.saturating_sub(1))?;
    if !complete {
        bail!("the daemon went away in the middle: {shown} holds what was observed until then");
    }
    Ok(ExitCode::SUCCESS)
}

async fn ended(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn create(path: &Path, force: bool) -> anyhow::Result<File> {
    let mut options = File::options();
    options.write(true).truncate(true).create(force).create_new(!force);
    options.open(path).with_context(|| match path.exists() && !force {
        true => format!("{} exists: choose another name, or give --force", path.display()),
        false => format!("cannot create {}", path.display()),
    })
}

/// Requests the recording and returns its lines.
/// With HTTP/1.0 the body is sent unchunked and ends with the connection.
async fn ask(server: &str) -> anyhow::Result<BufReader<TcpStream>> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let authority = server.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let address: SocketAddr = authority
        .map(|authority| authority.replace("localhost", "127.0.0.1"))
        .and_then(|authority| authority.parse().ok())
        .with_context(|| {
            format!("--server {server}: expected http://ADDRESS:PORT, for example http://127.0.0.1:10124")
        })?;
    let connected = timeout(PATIENCE, TcpStream::connect(address)).await;
    let mut stream = connected
        .map_err(io::Error::from)
        .flatten()
        .with_context(|| NoDaemon(format!("no netqueue daemon answers at {server}")))?;
    let request = format!("GET {RECORDING} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let read = timeout(PATIENCE, answer.read_line(&mut head)).await.map_err(io::Error::from).flatten()?;
        if read == 0 || head.len() > 1 << 16 {
            bail!("{server} does not answer in HTTP");
        }
    }
    match head.split_whitespace().nth(1) {
        Some("200") => Ok(answer),
        Some("404") => bail!("the daemon at {server} cannot be recorded: it is older than this netqueue"),
        status => {
            let mut why = String::new();
            answer.take(4096).read_to_string(&mut why).await?;
            bail!("{server} answers {}: {}", status.unwrap_or("nothing"), why.trim())
        }
    }
}
