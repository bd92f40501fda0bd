//! Query parameters: unknown, repeated or malformed ones are refused.

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};

use super::problem::Problem;

/// Query parameters of one request, as sent.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| Problem::bad_request(format!("the query cannot be read: {error}")))?;
        Ok(Self(pairs))
    }
}

impl Params {
    /// Refuses parameters that are not in `known` or occur twice.
    pub(super) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        for (index, (name, value)) in self.0.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(Problem::bad_request(match known {
                    [] => format!("unknown query parameter `{name}`: none is known here"),
                    known => format!("unknown query parameter `{name}`: known are {}", known.join(", ")),
                }));
            }
            if self.0.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(Problem::bad_parameter(name, value, "to be given once, and it is here again"));
            }
        }
        Ok(self)
    }

    /// Returns the parameter `name`, parsed; `expected` describes the format for the error message.
    pub(super) fn get<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some((_, value)) = self.0.iter().find(|(given, _)| given == name) else { return Ok(None) };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(Problem::bad_parameter(name, value, expected)),
        }
    }

    /// Returns the parameter `name`, which must be one of `choices`.
    pub(super) fn one_of(
        &self,
        name: &str,
        choices: &[&'static str],
    ) -> Result<Option<&'static str>, Problem> {
        self.get(name, &format!("one of {}", choices.join(", ")), |value| {
            choices.iter().copied().find(|choice| *choice == value)
        })
    }
}
