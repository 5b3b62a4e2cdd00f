//! What is sent, spooled and acknowledged as one: batches of some seconds.

use std::io::{self, Read as _};

use super::table::{Rows, Table};

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The table.
    pub table: Table,
    /// The rows.
    pub rows: Rows,
}

/// Batches that were made together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parcel {
    /// The run that made it.
    pub run: u64,
    /// Its number in the run.
    pub sequence: u64,
    /// At most one of each table, none of them empty.
    pub batches: Vec<Batch>,
}

/// How much a spooled parcel is compressed: the fastest level.
const COMPRESSION: i32 = 1;
/// No parcel is larger: a file that says so is damaged.
const MAX_BYTES: u64 = 256 << 20;

impl Parcel {
    /// Rows of all batches.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.batches.iter().map(|b| u64::from(b.rows.count)).sum()
    }

    /// Bytes of all rows.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|b| b.rows.bytes.len()).sum()
    }

    /// By what the server knows a batch that it has stored before.
    #[must_use]
    pub fn token(&self, table: Table) -> String {
        format!("{:016x}-{}-{}", self.run, self.sequence, table.name())
    }

    /// The bytes of a file: a zstd frame with a checksum over what follows in little-endian order:
    /// run, sequence, then for each batch its table, rows, length and rows.
    ///
    /// # Errors
    /// Those of the compressor.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut encoder = zstd::Encoder::new(Vec::new(), COMPRESSION)?;
        encoder.include_checksum(true)?;
        let mut plain = Vec::with_capacity(self.bytes() + 64);
        plain.extend(self.run.to_le_bytes());
        plain.extend(self.sequence.to_le_bytes());
        for batch in &self.batches {
            plain.push(batch.table as u8);
            plain.extend(batch.rows.count.to_le_bytes());
            plain.extend((batch.rows.bytes.len() as u64).to_le_bytes());
            plain.extend_from_slice(&batch.rows.bytes);
        }
        io::copy(&mut plain.as_slice(), &mut encoder)?;
        encoder.finish()
    }

    /// Reads what [`Parcel::to_bytes`] wrote.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<Self> {
        let mut plain = Vec::new();
        zstd::Decoder::new(bytes)?
            .take(MAX_BYTES)
            .read_to_end(&mut plain)?;
        let mut rest = plain.as_slice();
        let mut parcel = Self {
            run: number(&mut rest)?,
            sequence: number(&mut rest)?,
            batches: Vec::new(),
        };
        while !rest.is_empty() {
            parcel.batches.push(batch(&mut rest)?);
        }
        Ok(parcel)
    }
}

fn batch(rest: &mut &[u8]) -> io::Result<Batch> {
    let index = take(rest, 1)?[0];
    let table = Table::ALL.into_iter().find(|table| *table as u8 == index);
    let count = take(rest, 4)?.try_into().map(u32::from_le_bytes);
    let len = usize::try_from(number(rest)?).map_err(|_| damaged())?;
    Ok(Batch {
        table: table.ok_or_else(damaged)?,
        rows: Rows {
            count: count.map_err(|_| damaged())?,
            bytes: take(rest, len)?.to_vec(),
        },
    })
}

fn number(rest: &mut &[u8]) -> io::Result<u64> {
    let bytes = take(rest, 8)?.try_into().map_err(|_| damaged())?;
    Ok(u64::from_le_bytes(bytes))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> io::Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len).ok_or_else(damaged)?;
    *rest = left;
    Ok(taken)
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a damaged parcel")
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A parcel of one batch of `count` rows of `bytes` bytes in all.
    pub(in super::super) fn parcel(sequence: u64, count: u32, bytes: usize) -> Parcel {
        Parcel {
            run: 7,
            sequence,
            batches: vec![Batch {
                table: Table::Timeline,
                rows: Rows {
                    count,
                    bytes: (0..=u8::MAX).cycle().take(bytes).collect(),
                },
            }],
        }
    }

    #[test]
    fn a_parcel_comes_back_from_its_bytes() {
        let mut parcel = parcel(3, 2, 1000);
        parcel.batches.push(Batch {
            table: Table::Captures,
            rows: Rows {
                count: 1,
                bytes: vec![],
            },
        });
        let bytes = parcel.to_bytes().unwrap();
        assert_eq!(Parcel::from_bytes(&bytes).unwrap(), parcel);
        assert_eq!((parcel.rows(), parcel.bytes()), (3, 1000));
        assert_eq!(parcel.token(Table::Captures), "0000000000000007-3-captures");
    }

    proptest! {
        #[test]
        fn a_damaged_parcel_is_noticed(at in 0usize..500, bit in 0u8..8, cut in 0usize..500) {
            let parcel = parcel(3, 2, 600);
            let mut bytes = parcel.to_bytes().unwrap();
            let cut = cut % bytes.len();
            prop_assert!(Parcel::from_bytes(&bytes[..cut]).is_err());
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            // Some bits of the frame's header say nothing about its content.
            let read = Parcel::from_bytes(&bytes);
            prop_assert!(read.is_err() || read.unwrap() == parcel);
        }
    }
}
