//! The way to a collector.

use std::{
    fmt,
    io::{self, ErrorKind, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    str::FromStr,
    time::Duration,
};

/// How long to wait for a connection, and for a collector that takes nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where flows go: `HOST:PORT`, `HOST:PORT/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Name or address, and port.
    pub address: String,
    /// How messages travel.
    pub protocol: Protocol,
}

/// Transport protocols (RFC 7011, section 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A message per datagram; templates are repeated.
    Udp,
    /// Messages one after the other; templates once per connection.
    Tcp,
}

impl Collector {
    /// The port, where connections to it may have to be made anew.
    #[must_use]
    pub fn reconnects_to(&self) -> Option<u16> {
        let port = self.address.rsplit_once(':')?.1.parse().ok()?;
        (self.protocol == Protocol::Tcp).then_some(port)
    }
}

impl FromStr for Collector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, protocol) = match text.rsplit_once('/') {
            None | Some((_, "udp")) => (text.trim_end_matches("/udp"), Protocol::Udp),
            Some((address, "tcp")) => (address, Protocol::Tcp),
            Some((_, other)) => return Err(format!("unknown transport {other} (udp, tcp)")),
        };
        let port = address.rsplit_once(':');
        let port = port.filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err("not HOST:PORT or HOST:PORT/tcp (the usual port is 4739)".to_owned());
        }
        Ok(Self {
            address: address.to_owned(),
            protocol,
        })
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        write!(f, "{}/{protocol}", self.address)
    }
}

/// What messages are sent through.
#[derive(Debug)]
pub(super) enum Transport {
    /// A socket that knows its peer.
    Udp(UdpSocket),
    /// A connection, while there is one.
    Tcp(SocketAddr, Option<TcpStream>),
}

impl Transport {
    /// Opens a socket; a connection may come later.
    ///
    /// # Errors
    /// When the name has no address, or there are no sockets to be had.
    pub(super) fn open(collector: &Collector) -> io::Result<Self> {
        let mut addresses = collector.address.to_socket_addrs()?;
        let address = addresses.next().ok_or(ErrorKind::AddrNotAvailable)?;
        match collector.protocol {
            Protocol::Tcp => Ok(Self::Tcp(address, connect(address).ok())),
            Protocol::Udp => {
                let any: SocketAddr = if address.is_ipv4() {
                    (Ipv4Addr::UNSPECIFIED, 0).into()
                } else {
                    (Ipv6Addr::UNSPECIFIED, 0).into()
                };
                let socket = UdpSocket::bind(any)?;
                socket.connect(address)?;
                Ok(Self::Udp(socket))
            }
        }
    }

    /// Whether messages may be lost on the way, templates among them.
    pub(super) fn is_lossy(&self) -> bool {
        matches!(self, Self::Udp(_))
    }

    /// Whether there is somewhere to send to. The end of a connection is noticed.
    pub(super) fn is_connected(&mut self) -> bool {
        let Self::Tcp(_, stream) = self else {
            return true;
        };
        if stream.as_ref().is_some_and(has_ended) {
            *stream = None;
        }
        stream.is_some()
    }

    /// Tries to connect again.
    pub(super) fn reconnect(&mut self) -> io::Result<()> {
        if let Self::Tcp(address, stream) = self {
            *stream = Some(connect(*address)?);
        }
        Ok(())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When it could not be sent; over UDP also [`ErrorKind::ConnectionRefused`] when the one
    /// before found nobody.
    pub(super) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Tcp(_, stream) => {
                let open = stream.as_mut().ok_or(ErrorKind::NotConnected)?;
                let sent = open.write_all(message);
                if sent.is_err() {
                    // Half a message may be out: what follows would not be understood.
                    *stream = None;
                }
                sent
            }
        }
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the other end closed the connection: a collector never sends anything.
fn has_ended(stream: &TcpStream) -> bool {
    let peeked = stream
        .set_nonblocking(true)
        .and_then(|()| stream.peek(&mut [0]));
    let waits = peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    !waits || stream.set_nonblocking(false).is_err()
}
