//! Query parameters as the OpenAPI document lists them; a test compares them with those the filters
//! accept.
#![expect(dead_code, reason = "only the document is made from these")]

use utoipa::{
    IntoParams,
    openapi::{
        RefOr, Schema,
        schema::{AnyOf, AnyOfBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type},
    },
};

use super::{choices, cursor, event_filter};

/// Location of accounts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PlaceQuery {
    /// Network namespace: `host`, its name, or its inode number, alone or with its generation as in
    /// `4026532201.3`
    #[param(schema_with = netns)]
    netns: Option<String>,
    /// Local address
    #[param(schema_with = address)]
    addr: Option<String>,
    /// Local port
    #[param(maximum = 65535)]
    port: Option<u16>,
}

/// Further conditions on accounts, and their order and number.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListenerQuery {
    /// Kind of account
    #[param(schema_with = kinds)]
    kind: Option<String>,
    /// Process that owns the listener
    process: Option<String>,
    /// Closed accounts only (true), or open ones only (false)
    closed: Option<bool>,
    /// Sort key: `id` ascending, all others descending
    #[param(schema_with = sorts)]
    sort: Option<String>,
    /// Largest number of accounts
    #[param(minimum = 1, maximum = 10000)]
    limit: Option<u32>,
}

/// Conditions on events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventQuery {
    /// Earliest time, inclusive: RFC 3339, or unix seconds
    #[param(schema_with = moment)]
    start: Option<String>,
    /// Latest time, exclusive: RFC 3339, or unix seconds
    #[param(schema_with = moment)]
    end: Option<String>,
    /// Earliest time, exclusive: RFC 3339, or unix seconds
    #[param(schema_with = moment)]
    since: Option<String>,
    /// Id of the account charged
    #[param(pattern = "^[0-9]{1,19}$")]
    listener: Option<String>,
    /// Network namespace: `host`, its name, or its inode number, alone or with its generation as in
    /// `4026532201.3`
    #[param(schema_with = netns)]
    netns: Option<String>,
    /// Local address
    #[param(schema_with = address)]
    addr: Option<String>,
    /// Local port
    #[param(maximum = 65535)]
    port: Option<u16>,
    /// Process that owns the listener
    process: Option<String>,
    /// Kind of event: `drop` or `reset`
    #[param(schema_with = event_kinds)]
    kind: Option<String>,
    /// Cause of the drop or reset
    #[param(schema_with = causes)]
    cause: Option<String>,
    /// Packet of the handshake that was dropped; resets have none
    #[param(schema_with = stages)]
    stage: Option<String>,
    /// Address of the peer that sent the packet or was reset
    #[param(schema_with = address)]
    peer: Option<String>,
}

/// Page of the matching events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// Largest number of events
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Cursor to continue from: `next` of the page before
    #[param(schema_with = cursors)]
    cursor: Option<String>,
    /// Order: `desc`, newest first, or `asc`, oldest first
    #[param(schema_with = orders)]
    order: Option<String>,
}

/// Number and ranking of peers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TopQuery {
    /// Largest number of addresses
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Ranking: by `events`, `drops` or `resets`
    #[param(schema_with = weights)]
    by: Option<String>,
}

/// Accounts, measures, period and resolution of a time series.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TimeseriesQuery {
    /// Id of the account
    #[param(pattern = "^[0-9]{1,19}$")]
    listener: Option<String>,
    /// Network namespace: `host`, its name, or its inode number, alone or with its generation as in
    /// `4026532201.3`
    #[param(schema_with = netns)]
    netns: Option<String>,
    /// Local address
    #[param(schema_with = address)]
    addr: Option<String>,
    /// Local port
    #[param(maximum = 65535)]
    port: Option<u16>,
    /// Process that owns the listener
    process: Option<String>,
    /// Measure to return
    #[param(schema_with = measures)]
    measure: Option<String>,
    /// Cause, for drops and resets
    #[param(schema_with = causes)]
    cause: Option<String>,
    /// Start of the period: RFC 3339, or unix seconds; without it, 15 minutes before `end`
    #[param(schema_with = moment)]
    start: Option<String>,
    /// End of the period: RFC 3339, or unix seconds; without it, now
    #[param(schema_with = moment)]
    end: Option<String>,
    /// Length of a step in seconds
    #[param(minimum = 1, maximum = 86400)]
    step: Option<u32>,
    /// Series per account (`listener`) or summed over all accounts (`all`)
    #[param(schema_with = spans)]
    by: Option<String>,
}

/// Account, period and number of verdicts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DiagnosisQuery {
    /// Id of the account
    #[param(pattern = "^[0-9]{1,19}$")]
    listener: Option<String>,
    /// Start of the period: RFC 3339, or unix seconds; without it, 15 minutes ago
    #[param(schema_with = moment)]
    since: Option<String>,
    /// Largest number of verdicts
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Conditions on spikes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct SpikeQuery {
    /// Active spikes only (true), or ended ones only (false)
    active: Option<bool>,
}

/// Start of a stream.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// Cursor after which to begin, unless the header `Last-Event-ID` has one; without either, the next
    /// event
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
    RefOr::T(one_of(choices::KINDS))
}

fn sorts() -> RefOr<Schema> {
    RefOr::T(one_of(&choices::SORTS))
}

fn event_kinds() -> RefOr<Schema> {
    RefOr::T(one_of(event_filter::KINDS))
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
    RefOr::T(one_of(&choices::MEASURES))
}

fn spans() -> RefOr<Schema> {
    RefOr::T(one_of(&["listener", "all"]))
}
