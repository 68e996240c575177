//! A borrowed, checked view of one ring record.

use thiserror::Error;
use tracer_common::event::{EventHeader, MAX_RECORD, flag, kind};
use zerocopy::FromBytes;

/// One record of the ring buffer: header, Cilium's notification (messages only), captured packet.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub header: &'a EventHeader,
    pub meta: &'a [u8],
    pub packet: &'a [u8],
}

#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    #[error("ring record: {found} bytes, expected at least {expected}")]
    Short { found: usize, expected: usize },
    #[error("ring record: {found} bytes, at most {MAX_RECORD} are ever sent")]
    Long { found: usize },
    #[error("ring record is not aligned to 8 bytes")]
    Unaligned,
    #[error("ring record of unknown kind {0}")]
    Kind(u8),
}

impl<'a> Record<'a> {
    /// Checks the lengths; bytes behind the packet are padding of the ring.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let found = bytes.len();
        let short = |expected| RecordError::Short { found, expected };
        if found < size_of::<EventHeader>() {
            return Err(short(size_of::<EventHeader>()));
        }
        let (header, rest) = EventHeader::ref_from_prefix(bytes).map_err(|_| RecordError::Unaligned)?;
        if !matches!(header.kind, kind::FREE | kind::MESSAGE | kind::XDP_MESSAGE) {
            return Err(RecordError::Kind(header.kind));
        }
        let (meta, packet) = (usize::from(header.meta_len), usize::from(header.captured));
        let expected = size_of::<EventHeader>() + meta + packet;
        if expected > MAX_RECORD {
            return Err(RecordError::Long { found: expected });
        }
        let (meta, rest) = rest.split_at_checked(meta).ok_or(short(expected))?;
        let packet = rest.get(..packet).ok_or(short(expected))?;
        Ok(Self { header, meta, packet })
    }

    pub fn has(&self, bit: u16) -> bool {
        self.header.flags & bit != 0
    }

    /// The kernel's drop reason, where the kernel has reasons.
    pub fn reason(&self) -> Option<u32> {
        self.has(flag::HAS_REASON).then_some(self.header.reason)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixture::{Aligned, free, message};
    use super::*;

    #[test]
    fn record_is_split_into_its_parts() {
        let record = message(1, 0xabc, &[7; 36], &[9; 20]);
        let view = Record::parse(record.as_bytes()).unwrap();
        assert_eq!((view.header.skb, view.meta, view.packet), (0xabc, &[7; 36][..], &[9; 20][..]));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let record = message(1, 0xabc, &[7; 36], &[9; 20]);
        let bytes = record.as_bytes();
        for length in 0..bytes.len() {
            let expected = if length < 112 { 112 } else { bytes.len() };
            let error = RecordError::Short { found: length, expected };
            assert_eq!(Record::parse(&bytes[..length]).unwrap_err(), error);
        }
    }

    #[test]
    fn lengths_beyond_a_record_and_unknown_kinds_are_errors() {
        let mut record = free(1, 0xabc);
        record.header().captured = 1000;
        assert_eq!(Record::parse(record.as_bytes()).unwrap_err(), RecordError::Long { found: 1112 });
        record.header().kind = 9;
        assert_eq!(Record::parse(record.as_bytes()).unwrap_err(), RecordError::Kind(9));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = Record::parse(Aligned::new(&bytes).as_bytes());
        }
    }
}
