//! The terminal: taken, drawn on when something changed, and given back whatever happens.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use anyhow::bail;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::mpsc;

use super::{
    feed,
    keys::{self, Then},
    model::Model,
    view::{self, Look},
};
use crate::client::Client;

/// Draws until the user quits.
pub(super) async fn run(
    client: Client,
    mut model: Model,
    period: Duration,
    look: Look,
) -> anyhow::Result<()> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("`netqueue top` needs a terminal; `netqueue listeners` and `netqueue events` print");
    }
    let (news_sender, mut news) = mpsc::channel(4);
    tokio::spawn(feed::run(client.clone(), period, news_sender.clone()));
    tokio::spawn(feed::follow(client, news_sender));
    let mut input = input();
    // Gives the terminal back on a panic too.
    let mut terminal = ratatui::try_init()?;
    let done = async {
        // Ages on the screen grow also while nothing is heard.
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        loop {
            terminal.draw(|frame| view::draw(frame, &model, look, Instant::now()))?;
            tokio::select! {
                Some(heard) = news.recv() => model.hear(heard),
                pressed = input.recv() => match pressed {
                    Some(Ok(Event::Key(key))) if keys::press(&mut model, key) == Then::Quit => return Ok(()),
                    // A resize, a mouse: draw again.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    // The terminal is gone.
                    None => return Ok(()),
                },
                _ = clock.tick() => {}
            }
        }
    }
    .await;
    ratatui::try_restore()?;
    Ok(done?)
}

/// Reads the user's input on a thread of its own, because reading blocks.
fn input() -> mpsc::Receiver<io::Result<Event>> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        loop {
            let read = event::read();
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    receiver
}
