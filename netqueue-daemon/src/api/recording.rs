//! `/api/v1/recording`: everything observed from now on, as it comes, for `netqueue record`.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};

use super::{params::Params, problem::Problem};
use crate::{
    recording::{self, Header},
    snapshots::{Recording, Snapshots},
};

/// Where it is.
pub const PATH: &str = "/api/v1/recording";

/// Answers with lines for as long as the client reads and the daemon runs.
pub(super) async fn get(State(snapshots): State<Snapshots>, params: Params) -> Result<Response, Problem> {
    params.only(&[])?;
    let latest = snapshots.latest();
    let kernel = nix::sys::utsname::uname()
        .map(|names| names.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let header = Header::new(kernel, latest.host, latest.attached);
    let Some(recording) = snapshots.record().await else {
        return Err(Problem::too_many(
            "as many recordings as may be made at once are being made: end one, or use what it writes"
                .to_owned(),
        ));
    };
    let header = serde_json::to_vec(&header)
        .map_err(|error| Problem::unavailable(format!("the recording cannot begin: {error}")))?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines(header, recording)))
        .into_response())
}

fn lines(header: Vec<u8>, recording: Recording) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let observed = ReceiverStream::new(recording).filter_map(|observed| serde_json::to_vec(&*observed).ok());
    // The stream ends when the daemon stops: nothing was cut off then.
    let end = tokio_stream::once(recording::END.as_bytes().to_vec());
    tokio_stream::once(header).chain(observed).chain(end).map(|mut line| {
        line.push(b'\n');
        Ok(line.into())
    })
}
