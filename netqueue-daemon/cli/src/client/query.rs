//! API paths with their percent-encoded query parameters.

/// A path of the API, and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    path: String,
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Creates a query of `path` without parameters.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned(), parameters: Vec::new() }
    }

    /// Adds the parameter `name` if there is a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: Option<impl ToString>) -> Self {
        self.parameters.extend(value.map(|value| (name.to_owned(), value.to_string())));
        self
    }

    /// Returns path and query, percent-encoded for the request line.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        if self.parameters.is_empty() {
            return self.path.clone();
        }
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.parameters).finish();
        format!("{}?{encoded}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_asked_and_nothing_can_break_out() {
        let query = Query::new("/api/v1/events").with("port", Some(80)).with("netns", None::<&str>);
        assert_eq!(query.path_and_query(), "/api/v1/events?port=80");
        let query = Query::new("/x").with("addr", Some("[::1]&a=b #"));
        assert_eq!(query.path_and_query(), "/x?addr=%5B%3A%3A1%5D%26a%3Db+%23");
        assert_eq!(Query::new("/x").path_and_query(), "/x");
    }
}
