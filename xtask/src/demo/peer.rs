//! One of the two hosts of the demonstration: it serves, and it asks the other.
//!
//! Traffic is best effort: what a socket refuses was not sent, and the capture shows what was.

use std::{
    f64::consts::TAU,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{self, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use clap::Args;

use super::dns;

/// Last digits of a host's further addresses.
pub(super) const ALIASES: [u8; 4] = [1, 2, 3, 4];

const ECHO: u16 = 7;
const DNS: u16 = 53;
const NAMES: [&str; 4] = [
    "www.example.com",
    "mail.example.org",
    "api.example.net",
    "nothing.invalid",
];
const TICK: Duration = Duration::from_millis(20);
/// Exchanges in a tick at full strength.
const FULL_STRENGTH: f64 = 14.0;
/// A peer that does not answer is given up.
const PATIENCE: Duration = Duration::from_millis(500);

/// A host of the demonstration
#[derive(Args, Debug)]
pub(crate) struct Peer {
    /// Its number: 1 or 2.
    #[arg(value_parser = clap::value_parser!(u8).range(1..=2))]
    host: u8,
    /// Seconds after which the pattern of its traffic repeats.
    period: f64,
}

impl Peer {
    pub(crate) fn run(self) -> Result<ExitCode> {
        thread::spawn(end_with_stdin);
        serve()?;
        let mut client = Client::new(self.host)?;
        let start = Instant::now();
        for tick in 1.. {
            let strength = strength(start.elapsed().as_secs_f64() / self.period);
            for _ in 0..exchanges(strength) {
                client.exchange();
            }
            thread::sleep((start + TICK * tick).saturating_duration_since(Instant::now()));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Two swells and a burst in every period: 0 to 1.
fn strength(periods: f64) -> f64 {
    let position = periods.fract();
    let swell = 0.5 - 0.5 * (2.0 * TAU * position).cos();
    let burst = if (0.6..0.68).contains(&position) {
        0.4
    } else {
        0.0
    };
    0.1 + 0.5 * swell + burst
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and FULL_STRENGTH"
)]
fn exchanges(strength: f64) -> u32 {
    (strength * FULL_STRENGTH).round() as u32
}

fn end_with_stdin() {
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    process::exit(0);
}

/// Echo and DNS, over UDP and TCP, IPv4 and IPv6.
fn serve() -> Result<()> {
    serve_udp(ECHO, |message| Some(message.to_vec()))?;
    serve_udp(DNS, dns::answer)?;
    serve_tcp(ECHO, echo)?;
    serve_tcp(DNS, answer_over_tcp)
}

fn serve_udp(port: u16, reply: fn(&[u8]) -> Option<Vec<u8>>) -> Result<()> {
    let socket = UdpSocket::bind(("::", port)).with_context(|| format!("serve UDP port {port}"))?;
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        loop {
            if let Ok((len, from)) = socket.recv_from(&mut buffer)
                && let Some(message) = reply(&buffer[..len])
            {
                let _ = socket.send_to(&message, from);
            }
        }
    });
    Ok(())
}

fn serve_tcp(port: u16, talk: fn(TcpStream) -> io::Result<()>) -> Result<()> {
    let listener =
        TcpListener::bind(("::", port)).with_context(|| format!("serve TCP port {port}"))?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || talk(stream));
        }
    });
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len])?,
        }
    }
}

fn answer_over_tcp(mut stream: TcpStream) -> io::Result<()> {
    let query = read_dns(&mut stream)?;
    match dns::answer(&query) {
        Some(answer) => write_dns(&mut stream, &answer),
        None => Ok(()),
    }
}

/// Reads a message after its length, as RFC 7766 puts it.
fn read_dns(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn write_dns(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), message].concat())
}

/// The asking half of a host.
struct Client {
    other: u8,
    /// From whatever address fits.
    ipv4: UdpSocket,
    ipv6: UdpSocket,
    /// From each of [`ALIASES`].
    aliases: Vec<UdpSocket>,
    /// Exchanges so far.
    count: u16,
}

impl Client {
    fn new(host: u8) -> Result<Self> {
        let aliases = ALIASES.map(|alias| socket(&format!("10.77.0.{host}{alias}:0")));
        Ok(Self {
            other: 3 - host,
            ipv4: socket("0.0.0.0:0")?,
            ipv6: socket("[::]:0")?,
            aliases: aliases.into_iter().collect::<Result<_>>()?,
            count: 0,
        })
    }

    /// Does the next of a round of exchanges.
    fn exchange(&mut self) {
        self.count = self.count.wrapping_add(1);
        let round = usize::from(self.count / 12);
        // What is refused was not sent.
        let _ = match self.count % 12 {
            0 => self.ask_over_udp(round),
            1 => self.ask_over_tcp(round),
            2 => talk(&self.ipv4_echo(), &self.payload()),
            3 => talk(&self.ipv6_echo(), &self.payload()),
            4 => self.tell(&self.ipv4, &self.ipv4_echo()),
            // Nobody has the address: ARP asks for it in vain.
            5 => self.tell(&self.ipv4, &format!("10.77.0.{}:{ECHO}", 200 + round % 8)),
            6 | 7 => self.tell(&self.ipv6, &self.ipv6_echo()),
            n => self.tell(
                &self.aliases[usize::from(n) % ALIASES.len()],
                &self.ipv4_echo(),
            ),
        };
    }

    fn ipv4_echo(&self) -> String {
        format!("10.77.0.{}:{ECHO}", self.other)
    }

    fn ipv6_echo(&self) -> String {
        format!("[fd77::{}]:{ECHO}", self.other)
    }

    /// Bytes of a length that varies from exchange to exchange.
    fn payload(&self) -> Vec<u8> {
        vec![b'.'; 16 + usize::from(self.count.wrapping_mul(397) % 1400)]
    }

    fn tell(&self, socket: &UdpSocket, to: &str) -> io::Result<()> {
        socket.send_to(&self.payload(), to).map(drop)
    }

    fn ask_over_udp(&self, round: usize) -> io::Result<()> {
        let to = format!("10.77.0.{}:{DNS}", self.other);
        self.ipv4.send_to(&self.query(round), to).map(drop)
    }

    fn ask_over_tcp(&self, round: usize) -> io::Result<()> {
        let mut stream = connect(&format!("[fd77::{}]:{DNS}", self.other))?;
        write_dns(&mut stream, &self.query(round))?;
        read_dns(&mut stream).map(drop)
    }

    fn query(&self, round: usize) -> Vec<u8> {
        let name = NAMES[round % NAMES.len()];
        let record_type = dns::TYPES[round / NAMES.len() % dns::TYPES.len()];
        dns::query(self.count, name, record_type)
    }
}

/// A UDP socket whose answers are for the capture; nobody reads them.
fn socket(address: &str) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(address).with_context(|| format!("bind UDP to {address}"))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn connect(to: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = to.parse().map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends `payload` and takes it back.
fn talk(to: &str, payload: &[u8]) -> io::Result<()> {
    let mut stream = connect(to)?;
    stream.write_all(payload)?;
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_stays_in_bounds_and_varies() {
        let values: Vec<f64> = (0..100).map(|n| strength(f64::from(n) / 100.0)).collect();
        assert!(values.iter().all(|value| (0.1..=1.0).contains(value)));
        assert!(values.iter().any(|value| *value < 0.15));
        assert!(values.iter().any(|value| *value > 0.7));
    }
}
