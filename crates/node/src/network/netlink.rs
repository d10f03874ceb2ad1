//! The little of rtnetlink that links, addresses, neighbours and routes need: messages as bytes,
//! and a socket that sends a batch and reads the answers. The keeper has one thread and waits for
//! nobody: the kernel answers before `send` returns.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
/// Together: make it, whatever was there.
const REPLACE: u16 = 0x100;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;

const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NEW_NEIGHBOUR: u16 = 28;
const ERROR: u16 = 2;

const FAMILY_V4: u8 = 2;
const FAMILY_V6: u16 = 10;
const LINK_UP: u32 = 1;
const NESTED: u16 = 0x8000;

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        Self {
            kind,
            flags: REQUEST | ACKNOWLEDGE | flags,
            body: header.to_vec(),
        }
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        push_attribute(&mut self.body, kind, value);
        self
    }

    /// A pair of virtual links: `index` here, `eth0` with `peer_index` in the network namespace of
    /// process `peer_of`.
    pub(super) fn new_pair(
        name: &str,
        index: u32,
        mac: Mac,
        peer_index: u32,
        peer_mac: Mac,
        peer_of: i32,
    ) -> Self {
        const NAME: u16 = 3;
        const MAC: u16 = 1;
        const NAMESPACE_OF: u16 = 19;
        const INFORMATION: u16 = 18;
        const KIND: u16 = 1;
        const DATA: u16 = 2;
        const PEER: u16 = 1;
        let mut peer = link_header(peer_index, 0).to_vec();
        push_attribute(&mut peer, NAME, b"eth0\0");
        push_attribute(&mut peer, MAC, &peer_mac);
        push_attribute(&mut peer, NAMESPACE_OF, &peer_of.to_ne_bytes());
        let mut data = Vec::new();
        push_attribute(&mut data, PEER, &peer);
        let mut information = Vec::new();
        push_attribute(&mut information, KIND, b"veth");
        push_attribute(&mut information, DATA | NESTED, &data);
        let mut name = name.as_bytes().to_vec();
        name.push(0);
        Self::new(NEW_LINK, CREATE | EXCLUSIVE, &link_header(index, 0))
            .attribute(NAME, &name)
            .attribute(MAC, &mac)
            .attribute(INFORMATION | NESTED, &information)
    }

    /// Brings a link up.
    pub(super) fn up(index: u32) -> Self {
        Self::new(NEW_LINK, 0, &link_header(index, LINK_UP))
    }

    /// Routes what comes in on a link, if its sender is where replies to it would go.
    pub(super) fn forward_strictly(index: u32) -> Self {
        const FORWARDING: u16 = 1;
        const REVERSE_PATH_FILTER: u16 = 8;
        let mut settings = Vec::new();
        push_attribute(&mut settings, FORWARDING, &1_u32.to_ne_bytes());
        push_attribute(&mut settings, REVERSE_PATH_FILTER, &1_u32.to_ne_bytes());
        Self::family_settings(index, u16::from(FAMILY_V4), 1 | NESTED, &settings)
    }

    /// Gives a link no IPv6 address of its own.
    pub(super) fn no_link_local(index: u32) -> Self {
        const ADDRESS_GENERATION: u16 = 8;
        Self::family_settings(index, FAMILY_V6, ADDRESS_GENERATION, &[1])
    }

    fn family_settings(index: u32, family: u16, kind: u16, value: &[u8]) -> Self {
        const OF_FAMILIES: u16 = 26;
        let mut setting = Vec::new();
        push_attribute(&mut setting, kind, value);
        let mut families = Vec::new();
        push_attribute(&mut families, family | NESTED, &setting);
        Self::new(NEW_LINK, 0, &link_header(index, 0)).attribute(OF_FAMILIES | NESTED, &families)
    }

    /// Gives a link a /32 address.
    pub(super) fn address(index: u32, address: Ipv4Addr) -> Self {
        const ADDRESS: u16 = 1;
        const LOCAL: u16 = 2;
        let [a, b, c, d] = index.to_ne_bytes();
        // family, prefix length, flags, scope, link
        Self::new(
            NEW_ADDRESS,
            CREATE | REPLACE,
            &[FAMILY_V4, 32, 0, 0, a, b, c, d],
        )
        .attribute(LOCAL, &address.octets())
        .attribute(ADDRESS, &address.octets())
    }

    /// Says where an address is, once and for all.
    pub(super) fn neighbour(index: u32, address: Ipv4Addr, mac: Mac) -> Self {
        const DESTINATION: u16 = 1;
        const MAC: u16 = 2;
        const PERMANENT: u16 = 0x80;
        let mut header = vec![FAMILY_V4, 0, 0, 0];
        header.extend_from_slice(&index.to_ne_bytes());
        header.extend_from_slice(&PERMANENT.to_ne_bytes());
        header.extend_from_slice(&[0, 0]);
        Self::new(NEW_NEIGHBOUR, CREATE | REPLACE, &header)
            .attribute(DESTINATION, &address.octets())
            .attribute(MAC, &mac)
    }

    /// A route to the one address a link leads to.
    pub(super) fn host_route(index: u32, to: Ipv4Addr, source: Ipv4Addr) -> Self {
        const PREFERRED_SOURCE: u16 = 7;
        const TABLE_MAIN: u8 = 254;
        const SCOPE_LINK: u8 = 253;
        Self::route(32, TABLE_MAIN, SCOPE_LINK, UNICAST, 0)
            .attribute(ROUTE_DESTINATION, &to.octets())
            .attribute(ROUTE_LINK, &index.to_ne_bytes())
            .attribute(PREFERRED_SOURCE, &source.octets())
    }

    /// The route to everywhere else, through a gateway that need not be on any network.
    pub(super) fn default_route(index: u32, gateway: Ipv4Addr) -> Self {
        const GATEWAY: u16 = 5;
        const TABLE_MAIN: u8 = 254;
        const SCOPE_GLOBAL: u8 = 0;
        const ON_LINK: u32 = 4;
        Self::route(0, TABLE_MAIN, SCOPE_GLOBAL, UNICAST, ON_LINK)
            .attribute(GATEWAY, &gateway.octets())
            .attribute(ROUTE_LINK, &index.to_ne_bytes())
    }

    /// Makes every address of a range this namespace's own.
    pub(super) fn local_range(index: u32, network: Ipv4Addr, prefix: u8) -> Self {
        const TABLE_LOCAL: u8 = 255;
        const SCOPE_HOST: u8 = 254;
        const LOCAL: u8 = 2;
        Self::route(prefix, TABLE_LOCAL, SCOPE_HOST, LOCAL, 0)
            .attribute(ROUTE_DESTINATION, &network.octets())
            .attribute(ROUTE_LINK, &index.to_ne_bytes())
    }

    fn route(prefix: u8, table: u8, scope: u8, kind: u8, flags: u32) -> Self {
        const PROTOCOL_STATIC: u8 = 4;
        // family, destination and source prefix, type of service, table, protocol, scope, kind
        let mut header = vec![FAMILY_V4, prefix, 0, 0, table, PROTOCOL_STATIC, scope, kind];
        header.extend_from_slice(&flags.to_ne_bytes());
        Self::new(NEW_ROUTE, CREATE | REPLACE, &header)
    }

    fn write(&self, sequence: u32, into: &mut Vec<u8>) {
        let length = HEADER + self.body.len();
        into.extend_from_slice(&(length as u32).to_ne_bytes());
        into.extend_from_slice(&self.kind.to_ne_bytes());
        into.extend_from_slice(&self.flags.to_ne_bytes());
        into.extend_from_slice(&sequence.to_ne_bytes());
        into.extend_from_slice(&0_u32.to_ne_bytes());
        into.extend_from_slice(&self.body);
        pad(into);
    }
}

const HEADER: usize = 16;
const UNICAST: u8 = 1;
const ROUTE_DESTINATION: u16 = 1;
const ROUTE_LINK: u16 = 4;

fn link_header(index: u32, up: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&up.to_ne_bytes());
    header[12..16].copy_from_slice(&up.to_ne_bytes());
    header
}

fn push_attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    into.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    into.extend_from_slice(&kind.to_ne_bytes());
    into.extend_from_slice(value);
    pad(into);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A socket to the kernel's routing, in the network namespace of whoever opened it.
#[derive(Debug)]
pub(super) struct Socket {
    socket: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(super) fn open() -> io::Result<Self> {
        sys::netlink_socket().map(Self::over)
    }

    pub(super) fn over(socket: OwnedFd) -> Self {
        Self {
            socket,
            sequence: 0,
        }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.socket
    }

    /// Carries out requests in order; the first error ends it (those after it were tried too).
    pub(super) fn run(&mut self, messages: &[Message]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for message in messages {
            self.sequence += 1;
            message.write(self.sequence, &mut bytes);
        }
        let last = self.sequence;
        sys::send_all(self.socket.as_fd(), &bytes)?;
        let mut first_error = Ok(());
        loop {
            let (answer, _) = sys::receive_with_descriptors(self.socket.as_fd())?;
            for (sequence, code) in answers(&answer) {
                if code != 0 && first_error.is_ok() {
                    first_error = Err(io::Error::from_raw_os_error(-code));
                }
                if sequence == last {
                    return first_error;
                }
            }
        }
    }
}

/// The (sequence number, error or 0) pairs of a datagram.
fn answers(mut bytes: &[u8]) -> Vec<(u32, i32)> {
    let number = |bytes: &[u8], at: usize| {
        bytes
            .get(at..at + 4)
            .map(|n| u32::from_ne_bytes([n[0], n[1], n[2], n[3]]))
    };
    let mut found = Vec::new();
    while let (Some(length), Some(sequence)) = (number(bytes, 0), number(bytes, 8)) {
        let length = length as usize;
        if length < HEADER || length > bytes.len() {
            break;
        }
        if u16::from_ne_bytes([bytes[4], bytes[5]]) == ERROR
            && let Some(code) = number(bytes, HEADER)
        {
            found.push((sequence, code.cast_signed()));
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_but_tell_their_true_length() {
        let mut bytes = Vec::new();
        push_attribute(&mut bytes, 3, b"eth0\0");
        assert_eq!(bytes, [9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0]);
    }

    #[test]
    fn answers_are_read_one_after_another_and_never_beyond_the_end() {
        let mut bytes = Vec::new();
        for (sequence, code) in [(1_u32, 0_i32), (2, -17)] {
            bytes.extend_from_slice(&36_u32.to_ne_bytes());
            bytes.extend_from_slice(&[2, 0, 0, 0]);
            bytes.extend_from_slice(&sequence.to_ne_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes.extend_from_slice(&[0; 16]);
        }
        assert_eq!(answers(&bytes), [(1, 0), (2, -17)]);
        for cut in 0..bytes.len() {
            assert!(answers(&bytes[..cut]).len() <= 1);
        }
    }
}
