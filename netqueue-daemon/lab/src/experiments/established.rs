//! Established connections with nonexistent peers, which are silent from then on.

use anyhow::Result;
use socket2::Socket;

use crate::packet::{Segment, SynAck};
use crate::raw::FakePeers;
use crate::sockets::{Family, Listener, PATIENCE};

/// A listener and its connections with some peers.
pub(crate) struct Established {
    pub(crate) fake: FakePeers,
    /// The SYN-ACKs to the peers, which contain the server's sequence numbers.
    pub(crate) answers: Vec<SynAck>,
    /// The server's sockets.
    pub(crate) accepted: Vec<Socket>,
    _listener: Listener,
}

impl Established {
    /// Connects `count` peers and accepts them.
    pub(crate) fn with(family: Family, port: u16, count: u16) -> Result<Self> {
        let fake = FakePeers::of(family)?;
        let listener = Listener::of(family, port, 16)?;
        fake.send_syns(count, listener.loopback())?;
        let answers = fake.syn_acks(count.into(), PATIENCE)?;
        let mut accepted = Vec::new();
        for answer in &answers {
            fake.send_final_ack(answer)?;
            accepted.push(listener.accept()?);
        }
        Ok(Self { fake, answers, accepted, _listener: listener })
    }

    /// Sends the same byte on each connection.
    pub(crate) fn send_data(&self) -> Result<()> {
        self.answers.iter().try_for_each(|answer| {
            self.fake.send(answer.to, answer.from, Segment::Data { ack: answer.sequence.wrapping_add(1) })
        })
    }

    /// Closes all connections on the server's side.
    pub(crate) fn close_all(&mut self) {
        self.accepted.clear();
    }
}
