//! Resets sent from process context while other tasks want the CPU.
//! Data that arrives while its receiver closes is processed by the closing task. A preemptible kernel may
//! interrupt that task at any point and move it to another CPU. It may also interrupt a task that writes a map
//! of eBPF, and then skips the kprobe programs of every tool on that CPU until that task goes on. Of a batch job,
//! which runs only while nobody else wants the CPU, that takes long.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use netqueue_kernel::MapWriter;

use super::load::wait_until_quiet;
use crate::counters::Counter;
use crate::expectation::{Amount, Expectation, Experiment, LabSettings, Scenario};
use crate::sockets::{Family, Listener};
use crate::{sys, sysctl};

pub(super) const PREEMPTED: Experiment = Experiment {
    number: "84",
    name: "resets-preempted",
    incident: "4 servers, one of them of IPv6, close connections on which 8 clients go on sending, for 10 s, while 4 other tasks preempt them and a \
               fifth writes a map of eBPF all the time; the servers and the writer run only while nobody else wants their CPU",
    verdict: "resets sent by processes, each charged once, whatever came in between",
    provoke: Scenario::Inside(preempted),
};

const LASTS: Duration = Duration::from_secs(10);

fn preempted(_: &LabSettings) -> Result<Expectation> {
    sysctl::defaults()?;
    let until = Instant::now() + LASTS;
    let mut tasks = Vec::new();
    let mut open = Vec::new();
    for number in 0..4 {
        let family = if number == 0 { Family::V6 } else { Family::V4 };
        let port = 8064 + 10 * number;
        let listener = Listener::of(family, port, 256)?;
        let server = TcpListener::from(listener.share()?);
        // The first connection makes the kernel patch its code, which an emulator of several CPUs may not
        // survive
        // under load.
        drop(TcpStream::connect(listener.loopback())?);
        server.set_nonblocking(true)?;
        tasks.push(thread::spawn(move || serve(&server, until)));
        for _ in 0..2 {
            let to = listener.loopback();
            tasks.push(thread::spawn(move || send(to, until)));
        }
        open.push(listener);
    }
    tasks.extend((0..4).map(|_| thread::spawn(move || preempt(until))));
    let map = MapWriter::new()?;
    let writer = thread::spawn(move || write(map, until));
    for task in tasks {
        task.join().map_err(|_| anyhow!("a task of the experiment panicked"))?;
    }
    writer.join().map_err(|_| anyhow!("the task that writes the map panicked"))??;
    wait_until_quiet()?;
    Ok(Expectation {
        kernel: vec![(Counter::OutRsts, Amount::AtLeast(100))],
        open: vec![Box::new(open)],
        ..Expectation::default()
    })
}

/// Reads some data of each connection and closes it.
fn serve(server: &TcpListener, until: Instant) {
    // An error here means that it is preempted like the others.
    let _in_the_background = sys::yield_to_all();
    let mut buffer = vec![0; 1 << 16];
    while Instant::now() < until {
        match server.accept() {
            Ok((mut connection, _)) => {
                // An error here means that the client was faster.
                let _read = connection.set_read_timeout(Some(Duration::from_millis(500)));
                let _read = connection.read(&mut buffer);
                let _shut = connection.shutdown(Shutdown::Both);
            }
            Err(_) => thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Connects and sends until it is reset.
fn send(to: SocketAddr, until: Instant) {
    let data = vec![b'x'; 1 << 16];
    while Instant::now() < until {
        let Ok(mut connection) = TcpStream::connect_timeout(&to, Duration::from_secs(2)) else { continue };
        let _bounded = connection.set_write_timeout(Some(Duration::from_millis(500)));
        let _reset = (0..40).try_for_each(|_| connection.write_all(&data));
    }
}

/// Wakes up often and works a little each time, in order to preempt other tasks.
fn preempt(until: Instant) {
    while Instant::now() < until {
        thread::sleep(Duration::from_micros(300));
        std::hint::black_box((0..800_u64).map(std::hint::black_box).sum::<u64>());
    }
}

/// Writes a map all the time, as tools do that keep their state in one.
fn write(mut map: MapWriter, until: Instant) -> Result<()> {
    sys::yield_to_all()?;
    while Instant::now() < until {
        (0..256).try_for_each(|value| map.write(value))?;
    }
    Ok(())
}
