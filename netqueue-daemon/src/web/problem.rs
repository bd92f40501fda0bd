//! Refusals: RFC 9457 problems that state what was wrong and what would be right.

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
};

/// Refused request.
#[derive(Debug)]
pub(crate) struct Problem {
    code: StatusCode,
    error_type: &'static str,
    error: String,
    parameter: Option<Parameter>,
}

/// Query parameter at fault.
#[derive(Debug)]
struct Parameter {
    name: String,
    value: String,
}

impl Problem {
    /// Any other refusal; `error_type` is a word for programs.
    pub(crate) const fn new(code: StatusCode, error_type: &'static str, error: String) -> Self {
        Self { code, error_type, error, parameter: None }
    }

    /// The request cannot be parsed.
    pub(crate) const fn bad_request(error: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_data", error)
    }

    /// A query parameter is invalid.
    pub(crate) fn bad_parameter(name: &str, value: &str, expected: &str) -> Self {
        let error = format!("query parameter `{name}` is {value:?}: expected {expected}");
        let parameter = Parameter { name: name.to_owned(), value: value.to_owned() };
        Self { parameter: Some(parameter), ..Self::bad_request(error) }
    }

    /// There is nothing at that path.
    pub(crate) fn not_found(path: &str) -> Self {
        let error = format!("there is nothing at {path:?}: / lists what there is");
        Self::new(StatusCode::NOT_FOUND, "not_found", error)
    }

    /// No account has that id.
    pub(crate) fn no_such_listener() -> Self {
        let error =
            "no account has this id: /api/v1/listeners lists them; ids are given anew when the daemon starts";
        Self::new(StatusCode::NOT_FOUND, "not_found", error.to_owned())
    }

    /// The client accepts neither JSON nor NDJSON.
    pub(crate) fn not_acceptable(accept: &str) -> Self {
        let error = format!("`Accept: {accept}` admits neither application/json nor application/x-ndjson");
        Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", error)
    }

    /// The path exists, but not for that method.
    pub(crate) fn method_not_allowed(method: &str, path: &str) -> Self {
        let error = format!("{path:?} does not answer {method}: use GET");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", error)
    }

    /// The limit of concurrent operations of that kind is reached.
    pub(crate) const fn too_many(error: String) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", error)
    }

    /// The daemon cannot answer now.
    pub(crate) const fn unavailable(error: String) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (parameter, value) =
            self.parameter.map_or((None, None), |parameter| (Some(parameter.name), Some(parameter.value)));
        let body = netqueue_api::Problem {
            r#type: "about:blank".to_owned(),
            title: self.code.canonical_reason().unwrap_or("Error").to_owned(),
            status: "error".to_owned(),
            detail: self.error.clone(),
            error_type: self.error_type.to_owned(),
            error: self.error,
            parameter,
            value,
        };
        let mut response =
            (self.code, [(CONTENT_TYPE, "application/problem+json")], axum::Json(body)).into_response();
        if matches!(self.code, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
