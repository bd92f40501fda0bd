//! `/api/v1/recording`: everything observed from now on, streamed to `netqueue record`.

use std::convert::Infallible;

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use netqueue_api::Problem as Refused;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};

use super::{Api, params::Params, problem::Problem};
use crate::{
    recording::{self, Header},
    snapshots::Recording,
};

/// Path of the endpoint.
pub const PATH: &str = "/api/v1/recording";

/// Everything observed from now on
///
/// For `netqueue record`: a header, then one observation a line, for as long as the client reads and the
/// daemon runs.
#[utoipa::path(get, path = "/api/v1/recording", tag = "recording", responses(
    (status = 200, description = "The recording", body = String, content_type = "application/x-ndjson"),
    (status = 400, description = "There are parameters and none is known", body = Refused, content_type = "application/problem+json"),
    (status = 429, description = "Enough recordings are being made", body = Refused, content_type = "application/problem+json"),
))]
pub(super) async fn get(State(api): State<Api>, params: Params) -> Result<Response, Problem> {
    params.only(&[])?;
    let snapshots = api.snapshots;
    let latest = snapshots.latest();
    let kernel = nix::sys::utsname::uname()
        .map(|names| names.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let header = Header::new(kernel, latest.host, latest.sees_host(), latest.attached);
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
    // Reached when the daemon stops: the end line shows that nothing was cut off.
    let end = tokio_stream::once(recording::END.as_bytes().to_vec());
    tokio_stream::once(header).chain(observed).chain(end).map(|mut line| {
        line.push(b'\n');
        Ok(line.into())
    })
}
