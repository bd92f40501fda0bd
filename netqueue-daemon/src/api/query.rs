//! The query parameters as the OpenAPI document tells them. What is told here is what the filters take: a test compares.
#![expect(dead_code, reason = "only the document is made from these")]

use utoipa::{
    IntoParams,
    openapi::{
        RefOr, Schema,
        schema::{AnyOf, AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type},
    },
};

use super::{cursor, event_filter, listener_filter, timeseries};

/// Where accounts are.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PlaceQuery {
    /// `host`, a network namespace's name, or its inode number, alone or with its generation as in `4026532201.3`
    #[param(schema_with = netns)]
    netns: Option<String>,
    /// The local address
    #[param(schema_with = address)]
    addr: Option<String>,
    /// The local port
    #[param(maximum = 65535)]
    port: Option<u16>,
}

/// Which of those that are there.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListenerQuery {
    /// What it is
    #[param(schema_with = kinds)]
    kind: Option<String>,
    /// The process that holds it
    process: Option<String>,
    /// Closed ones only, or open ones only
    closed: Option<bool>,
    /// By what to sort: `id` rising, anything else falling
    #[param(schema_with = sorts)]
    sort: Option<String>,
    /// How many at most
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// Which events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Not before this moment: RFC 3339, or unix seconds
    #[param(schema_with = moment)]
    start: Option<String>,
    /// Before this moment
    #[param(schema_with = moment)]
    end: Option<String>,
    /// After this moment
    #[param(schema_with = moment)]
    since: Option<String>,
    /// Charged to the account with this id
    #[param(pattern = "^[0-9]{1,19}$")]
    listener: Option<String>,
    /// `host`, a network namespace's name, or its inode number, alone or with its generation as in `4026532201.3`
    #[param(schema_with = netns)]
    netns: Option<String>,
    /// The local address
    #[param(schema_with = address)]
    addr: Option<String>,
    /// The local port
    #[param(maximum = 65535)]
    port: Option<u16>,
    /// The process that holds the listener
    process: Option<String>,
    /// `drop` or `reset`
    #[param(schema_with = event_kinds)]
    kind: Option<String>,
    /// Why
    #[param(schema_with = causes)]
    cause: Option<String>,
    /// Where in the handshake
    #[param(schema_with = stages)]
    stage: Option<String>,
    /// From, or to, this client
    #[param(schema_with = address)]
    peer: Option<String>,
}

/// Which part of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// How many at most
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before
    #[param(schema_with = cursors)]
    cursor: Option<String>,
    /// Newest first, or oldest first
    #[param(schema_with = orders)]
    order: Option<String>,
}

/// The first of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TopQuery {
    /// How many at most
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// By what they are counted
    #[param(schema_with = weights)]
    by: Option<String>,
}

/// What happened over time to whom.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TimeseriesQuery {
    /// The account with this id
    #[param(pattern = "^[0-9]{1,19}$")]
    listener: Option<String>,
    /// `host`, a network namespace's name, or its inode number, alone or with its generation as in `4026532201.3`
    #[param(schema_with = netns)]
    netns: Option<String>,
    /// The local address
    #[param(schema_with = address)]
    addr: Option<String>,
    /// The local port
    #[param(maximum = 65535)]
    port: Option<u16>,
    /// The process that holds the listener
    process: Option<String>,
    /// What
    #[param(schema_with = measures)]
    measure: Option<String>,
    /// Why, for drops and resets
    #[param(schema_with = causes)]
    cause: Option<String>,
    /// From this moment on; without it, the 15 minutes before `end`
    #[param(schema_with = moment)]
    start: Option<String>,
    /// Up to this moment; without it, now
    #[param(schema_with = moment)]
    end: Option<String>,
    /// Seconds in a step
    #[param(minimum = 1, maximum = 86400)]
    step: Option<u32>,
    /// A series for each listener, or one for all
    #[param(schema_with = spans)]
    by: Option<String>,
}

/// Of what is the matter there, what, and since when.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DiagnosisQuery {
    /// The account with this id
    #[param(pattern = "^[0-9]{1,19}$")]
    listener: Option<String>,
    /// What happened after this moment; without it, in the last 15 minutes
    #[param(schema_with = moment)]
    since: Option<String>,
    /// How many at most
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Which spikes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SpikeQuery {
    /// Those that go on only, or those that are over only
    active: Option<bool>,
}

/// Where a stream begins.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// After this event, where the header `Last-Event-ID` names none; without either, with the next one
    #[param(schema_with = cursors)]
    cursor: Option<String>,
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn patterned(pattern: &str) -> Schema {
    text().pattern(Some(pattern)).into()
}

fn one_of(words: &[&'static str]) -> Schema {
    text().enum_values(Some(words.iter().copied())).into()
}

fn either(schemas: impl IntoIterator<Item = Schema>) -> RefOr<Schema> {
    let all = schemas.into_iter().fold(AnyOfBuilder::new(), |all, one| all.item(one));
    RefOr::T(Schema::AnyOf(AnyOf::from(all)))
}

fn moment() -> RefOr<Schema> {
    let rfc3339 = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    either([patterned("^[0-9]{1,10}(\\.[0-9]{1,9})?$"), rfc3339.into()])
}

fn address() -> RefOr<Schema> {
    let known = |format| text().format(Some(SchemaFormat::KnownFormat(format))).into();
    either([known(KnownFormat::Ipv4), known(KnownFormat::Ipv6)])
}

fn netns() -> RefOr<Schema> {
    RefOr::T(text().min_length(Some(1)).into())
}

fn cursors() -> RefOr<Schema> {
    RefOr::T(patterned(cursor::PATTERN))
}

fn kinds() -> RefOr<Schema> {
    RefOr::T(one_of(&listener_filter::KINDS))
}

fn sorts() -> RefOr<Schema> {
    RefOr::T(one_of(&listener_filter::SORTS))
}

fn event_kinds() -> RefOr<Schema> {
    RefOr::T(one_of(&event_filter::KINDS))
}

fn causes() -> RefOr<Schema> {
    RefOr::T(one_of(&event_filter::causes()))
}

fn stages() -> RefOr<Schema> {
    RefOr::T(one_of(&event_filter::STAGES))
}

fn orders() -> RefOr<Schema> {
    RefOr::T(one_of(&["desc", "asc"]))
}

fn weights() -> RefOr<Schema> {
    RefOr::T(one_of(&["events", "drops", "resets"]))
}

fn measures() -> RefOr<Schema> {
    RefOr::T(one_of(&timeseries::MEASURES))
}

fn spans() -> RefOr<Schema> {
    RefOr::T(one_of(&["listener", "all"]))
}
