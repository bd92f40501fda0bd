//! Middleware around every route: authentication, access rules, and headers of every response.

use std::{net::Ipv4Addr, sync::Arc};

use super::{AuthConfig, Exposure, access::CameInAt, auth_config::Current, problem::Problem};
use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode,
        header::{AUTHORIZATION, HOST, WWW_AUTHENTICATE},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};

/// State of the middleware.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) secured: Arc<AuthConfig>,
    pub(super) exposure: Arc<Exposure>,
}

/// Passes a request on to its route, or refuses it with the reason.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let current = guard.secured.current();
    let mut response =
        match refuse(&guard, &current, came_in_at(&request), request.uri().path(), request.headers()).await {
            Some(refused) => refused,
            None if is_reload(&request) => reload(&guard.secured),
            None => next.run(request).await,
        };
    for (name, value) in &current.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

/// Returns the local address of the connection.
/// Without one the request counts as from the network, which is the stricter case.
fn came_in_at(request: &Request) -> CameInAt {
    request.extensions().get().copied().unwrap_or(CameInAt(Ipv4Addr::UNSPECIFIED.into()))
}

async fn refuse(
    guard: &Guard,
    current: &Current,
    at: CameInAt,
    path: &str,
    headers: &HeaderMap,
) -> Option<Response> {
    if !current.users.is_empty() {
        if current.users.admit(headers.get(AUTHORIZATION)).await {
            return None;
        }
        let mut response = Problem::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "a name and a password of basic_auth_users are asked for".to_owned(),
        )
        .into_response();
        let realm = HeaderValue::from_static("Basic realm=\"netqueue\", charset=\"UTF-8\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, realm);
        return Some(response);
    }
    if current.authenticates() {
        return None;
    }
    let host = headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    let refusal = guard.exposure.judge(at, path, host.as_deref()).err()?;
    Some(Problem::new(StatusCode::FORBIDDEN, "forbidden", refusal.explain()).into_response())
}

fn is_reload(request: &Request) -> bool {
    request.uri().path() == "/-/reload" && matches!(*request.method(), Method::POST | Method::PUT)
}

/// Handles `POST /-/reload`, as in Prometheus.
fn reload(secured: &AuthConfig) -> Response {
    match secured.reload() {
        Ok(()) => {
            tracing::info!("the web configuration was read again");
            StatusCode::OK.into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the web configuration is not used");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "not_reloaded", error.to_string()).into_response()
        }
    }
}
