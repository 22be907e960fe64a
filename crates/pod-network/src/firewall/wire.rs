//! Bytes of nfnetlink: attributes, messages, transactions. Pure.

/// `NFNL_SUBSYS_NFTABLES`
const NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
pub(crate) const NLM_F_REQUEST: u16 = 0x1;
pub(crate) const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
/// `struct nlmsghdr` and `struct nfgenmsg`.
pub(crate) const FULL_HEADER: usize = HEADER + 4;
pub(crate) const FAMILY_UNSPEC: u8 = 0;
pub(crate) const FAMILY_IPV4: u8 = 2;

/// A list of attributes, padded as the kernel wants it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attrs(Vec<u8>);

impl Attrs {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    pub(crate) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // no attribute of ours comes near the limit of 64 kB
        let length = (4 + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }
    /// Big-endian, as every number in nf_tables.
    pub(crate) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }
    pub(crate) fn nested(self, kind: u16, inner: Attrs) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// One message with its header; the sequence number is filled in when it is sent.
pub(crate) fn message(kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FULL_HEADER + body.len());
    bytes.extend_from_slice(&((FULL_HEADER + body.len()) as u32).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family, 0]);
    bytes.extend_from_slice(&resource.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// `kind` of an nf_tables message (`NFT_MSG_*`) with its subsystem.
pub(crate) fn nftables(kind: u16) -> u16 {
    (NFTABLES << 8) | kind
}

/// A transaction: all of its messages take effect at once, or none.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    messages: Vec<(String, Vec<u8>)>,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
    /// `what` says in words what the message does.
    pub(crate) fn add(&mut self, what: impl Into<String>, kind: u16, flags: u16, body: &Attrs) {
        let bytes = message(nftables(kind), flags, FAMILY_IPV4, 0, body.as_bytes());
        self.messages.push((what.into(), bytes));
    }
    /// All bytes, with sequence numbers from `first` on: the beginning's, then one for each message. The last message is acknowledged.
    pub(crate) fn finish(self, first: u32) -> (Vec<u8>, Vec<String>) {
        let mut bytes = Vec::new();
        let mut said = Vec::with_capacity(self.messages.len());
        let mut append = |message: &[u8], sequence: u32, flags: u16| {
            let at = bytes.len();
            bytes.extend_from_slice(message);
            bytes[at + 8..at + 12].copy_from_slice(&sequence.to_ne_bytes());
            bytes[at + 6] |= flags as u8;
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        };
        append(
            &message(BATCH_BEGIN, 0, FAMILY_UNSPEC, NFTABLES, &[]),
            first,
            0,
        );
        let mut sequence = first;
        let last = self.messages.len();
        for (index, (what, message)) in self.messages.into_iter().enumerate() {
            sequence = sequence.wrapping_add(1);
            append(
                &message,
                sequence,
                if index + 1 == last { NLM_F_ACK } else { 0 },
            );
            said.push(what);
        }
        append(
            &message(BATCH_END, 0, FAMILY_UNSPEC, NFTABLES, &[]),
            sequence.wrapping_add(1),
            0,
        );
        (bytes, said)
    }
}

/// The attributes in `bytes`: kind without flags, and value. Ends at the first that is malformed.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (head, _) = bytes.split_at_checked(4)?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_read_back() {
        let attrs = Attrs::new()
            .text(1, "ab")
            .nested(2, Attrs::new().number(7, 0x0102_0304))
            .bytes(3, &[9]);
        assert_eq!(attrs.as_bytes().len() % 4, 0);
        let read: Vec<(u16, Vec<u8>)> = attributes(attrs.as_bytes())
            .map(|(k, v)| (k, v.to_vec()))
            .collect();
        assert_eq!(read[0], (1, b"ab\0".to_vec()));
        assert_eq!(
            attributes(&read[1].1).next(),
            Some((7, &[1u8, 2, 3, 4][..]))
        );
        assert_eq!(read[2], (3, vec![9]));
        for cut in 0..attrs.as_bytes().len() {
            // whatever is cut off, reading ends
            assert!(attributes(&attrs.as_bytes()[..cut]).count() <= 3);
        }
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
    }

    #[test]
    fn a_batch_numbers_its_messages_and_asks_for_one_answer() {
        let mut batch = Batch::new();
        batch.add("one", 0, NLM_F_CREATE, &Attrs::new());
        batch.add("two", 0, 0, &Attrs::new());
        let (bytes, said) = batch.finish(40);
        assert_eq!(said, ["one", "two"]);
        let headers: Vec<(u16, u16, u32)> = bytes
            .chunks(FULL_HEADER)
            .map(|m| {
                (
                    u16::from_ne_bytes([m[4], m[5]]),
                    u16::from_ne_bytes([m[6], m[7]]),
                    u32::from_ne_bytes([m[8], m[9], m[10], m[11]]),
                )
            })
            .collect();
        assert_eq!(
            headers,
            [
                (0x10, 1, 40),
                (0xa00, 0x401, 41),
                (0xa00, 5, 42),
                (0x11, 1, 43)
            ]
        );
    }
}
