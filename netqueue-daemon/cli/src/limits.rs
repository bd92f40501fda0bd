//! Describes the limit of a listener's accept queue, and where it comes from.

use netqueue_api::Listener;

/// Describes the limit and the way to raise it; `None` if it is not known.
pub(super) fn describe(listener: &Listener) -> Option<String> {
    let limit = &listener.listener.as_ref()?.limit;
    let backlog = limit.backlog?;
    let now = limit.sysctls.get("net.core.somaxconn").copied().flatten();
    let somaxconn =
        now.map_or_else(String::new, |now| format!("; net.core.somaxconn ({now} now) does not bind"));
    let now = now.map_or_else(String::new, |now| format!("; it is {now} now"));
    Some(match (limit.limited_by.as_str(), limit.listen_argument) {
        ("listen_argument", Some(asked)) => {
            format!("Its limit is {backlog}, from the program's listen({asked}){somaxconn}.")
        }
        ("listen_argument", None) => {
            format!("Its limit is {backlog}, from the program's listen(){somaxconn}.")
        }
        ("somaxconn", asked) => format!(
            "Its limit {backlog} comes from net.core.somaxconn{}. Raising it takes effect when the program calls listen() again.",
            asked.map_or_else(String::new, |asked| format!("; the program asked for {asked}"))
        ),
        ("earlier_somaxconn", _) => {
            let then = limit.somaxconn_then.map_or_else(|| "lower".to_owned(), |then| then.to_string());
            format!(
                "Its limit {backlog} comes from net.core.somaxconn, which was {then} when the program began to listen{now}: reload or \
                 restart the program."
            )
        }
        _ => format!("Its limit is {}.", unseen_limit(listener)?),
    })
}

/// Describes a backlog whose listen() call was not seen.
fn unseen_limit(listener: &Listener) -> Option<String> {
    let limit = &listener.listener.as_ref()?.limit;
    let backlog = limit.backlog?;
    let now = limit.sysctls.get("net.core.somaxconn").copied().flatten();
    let now = now.map_or_else(String::new, |now| format!(" (somaxconn now {now})"));
    Some(format!("{backlog}, by the program's backlog or by somaxconn at its listen(): not known{now}"))
}
