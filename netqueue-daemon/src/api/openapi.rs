//! OpenAPI document, generated from the handlers.

use utoipa::openapi::{
    ContentBuilder, OpenApi, PathItem, RefOr, ResponseBuilder, Schema,
    path::{HttpMethod, OperationBuilder},
    schema::ObjectBuilder,
    tag::TagBuilder,
};

/// Returns the document that `/api/v1/openapi.json` serves.
#[must_use]
pub fn document() -> OpenApi {
    finish(super::routes().split_for_parts().1)
}

/// Members that an answer leaves out where they would be null (`skip_serializing_if`), by schema.
const LEFT_OUT: [(&str, &str); 2] = [("Problem", "parameter"), ("Problem", "value")];

/// Adds what the handlers do not declare.
pub(super) fn finish(mut document: OpenApi) -> OpenApi {
    document.info.title = "netqueue".to_owned();
    document.info.description = Some(
        "Attributes the kernel's listen drops and resets to the listener and cause that earned them. Every answer says how \
         far it can be trusted: `warnings` and `coverage`. Refusals are RFC 9457 problems that name the parameter."
            .to_owned(),
    );
    document.info.contact = None;
    document.servers = None;
    let tags = [("query", "Questions"), ("recording", "What `netqueue record` asks for")];
    document.tags =
        Some(tags.map(|(name, what)| TagBuilder::new().name(name).description(Some(what)).build()).into());
    let own = ResponseBuilder::new().description("This document").content(
        "application/json",
        ContentBuilder::new().schema(Some(ObjectBuilder::new().build())).build(),
    );
    let operation = OperationBuilder::new()
        .operation_id(Some("openapi"))
        .summary(Some("This document"))
        .tag("query")
        .response("200", own.build());
    document.paths.paths.insert("/api/v1/openapi.json".to_owned(), PathItem::new(HttpMethod::Get, operation));
    // Operations named after their paths give generated clients readable function names.
    for (path, item) in &mut document.paths.paths {
        if let Some(operation) = &mut item.get {
            let words = path.trim_start_matches("/api/v1/").replace(['/', '.'], "_").replace(['{', '}'], "");
            operation.operation_id = Some(words);
        }
    }
    require_what_is_written(&mut document);
    document
}

/// Marks each member of an answer as required. That clients accept older daemons' answers without it
/// (`serde(default)`) says nothing about what this one writes.
fn require_what_is_written(document: &mut OpenApi) {
    let schemas = document.components.iter_mut().flat_map(|components| &mut components.schemas);
    for (name, schema) in schemas {
        if let RefOr::T(Schema::Object(object)) = schema {
            let left_out = |member: &str| LEFT_OUT.contains(&(name.as_str(), member));
            object.required = object.properties.keys().filter(|member| !left_out(member)).cloned().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{event_filter::EventFilter, listener_filter::ListenerFilter};

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");

    /// Accepts the document as it is now if run with `NETQUEUE_UPDATE_GOLDEN=1`.
    #[test]
    fn the_document_is_the_one_in_the_repository() {
        let document = document().to_pretty_json().expect("JSON") + "\n";
        if std::env::var_os("NETQUEUE_UPDATE_GOLDEN").is_some() {
            std::fs::write(COMMITTED, &document).expect("the document can be written");
        }
        assert_eq!(document, std::fs::read_to_string(COMMITTED).expect("docs/openapi.json"));
    }

    fn documented(path: &str) -> Vec<String> {
        let document = document();
        let operation =
            document.paths.paths.get(path).and_then(|item| item.get.clone()).expect("it is there");
        let parameters = operation.parameters.unwrap_or_default();
        parameters
            .into_iter()
            .filter_map(|parameter| match parameter {
                utoipa::openapi::RefOr::T(parameter) => Some(parameter.name),
                utoipa::openapi::RefOr::Ref(_) => None,
            })
            .collect()
    }

    #[test]
    fn what_is_documented_is_what_is_taken() {
        assert_eq!(documented("/api/v1/listeners"), ListenerFilter::PARAMS);
        let with = |own: &[&'static str]| [&EventFilter::PARAMS[..], own].concat();
        assert_eq!(documented("/api/v1/events"), with(&["limit", "cursor", "order"]));
        assert_eq!(documented("/api/v1/events/stream"), with(&["cursor"]));
        assert_eq!(documented("/api/v1/peers"), with(&["limit", "by"]));
        assert_eq!(documented("/api/v1/timeseries"), crate::api::timeseries::PARAMS);
        assert_eq!(documented("/api/v1/diagnosis"), crate::api::diagnosis::PARAMS);
        assert_eq!(documented("/api/v1/spikes"), crate::api::spikes::PARAMS);
    }
}
