//! What the host and its compiling child say to each other: one request on the child's standard input, one answer on its standard output.
//!
//! Both sides are the same build of the same program, so there are no versions to negotiate; but the one reads what the other wrote after it dealt with
//! a stranger's bytes, so every length is checked before anything of that length is read. All numbers are little-endian.
//!
//! Request: magic (8) · address space reserved (1) · bytes of memory (8) · seconds of CPU (8) · length (8) · component.
//! Answer: magic (8) · what it is (1) · hash of engine and build (32) · length (8) · compiled code, or words.

/// Begins a request.
const REQUEST: &[u8; 8] = b"SLUICEQ1";
/// Begins an answer.
const ANSWER: &[u8; 8] = b"SLUICEA1";
/// Bytes before the component.
pub(crate) const REQUEST_HEAD: usize = 8 + 1 + 8 + 8 + 8;
/// Bytes before the compiled code.
pub(crate) const ANSWER_HEAD: usize = 8 + 1 + 32 + 8;
/// Compiled code is some four times its component; more than this is not taken.
pub(crate) const MAX_CODE: u64 = 512 << 20;
/// Words of a refusal.
pub(crate) const MAX_WORDS: u64 = 4096;

/// The fixed part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Whether the host's engine reserves address space: the code differs.
    pub(crate) reserved: bool,
    /// What the child may map, bytes.
    pub(crate) memory_bytes: u64,
    /// How long it may compute.
    pub(crate) cpu_seconds: u64,
    /// Bytes of the component.
    pub(crate) length: u64,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Compiled code.
    Code,
    /// The compiler refused the component, in these words.
    Refused,
    /// The compiler itself failed, in these words.
    Failed,
}

/// The fixed part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    /// What the code was compiled for.
    pub(crate) engine: [u8; 32],
    /// Bytes that follow.
    pub(crate) length: u64,
}

/// Takes `N` bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*first)
}

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = REQUEST.to_vec();
        out.push(u8::from(self.reserved));
        for number in [self.memory_bytes, self.cpu_seconds, self.length] {
            out.extend(number.to_le_bytes());
        }
        out
    }

    /// None for anything that is no request.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take::<8>(bytes)? != *REQUEST {
            return None;
        }
        let [reserved] = take::<1>(bytes)?;
        Some(Self {
            reserved: reserved == 1,
            memory_bytes: u64::from_le_bytes(take(bytes)?),
            cpu_seconds: u64::from_le_bytes(take(bytes)?),
            length: u64::from_le_bytes(take(bytes)?),
        })
    }
}

impl Answer {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = ANSWER.to_vec();
        out.push(match self.kind {
            Kind::Code => 0,
            Kind::Refused => 1,
            Kind::Failed => 2,
        });
        out.extend(self.engine);
        out.extend(self.length.to_le_bytes());
        out
    }

    /// None for anything that is no answer, or longer than an answer may be.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        if take::<8>(bytes)? != *ANSWER {
            return None;
        }
        let (kind, longest) = match take::<1>(bytes)? {
            [0] => (Kind::Code, u64::MAX),
            [1] => (Kind::Refused, MAX_WORDS),
            [2] => (Kind::Failed, MAX_WORDS),
            _ => return None,
        };
        let answer = Self { kind, engine: take(bytes)?, length: u64::from_le_bytes(take(bytes)?) };
        (answer.length <= longest).then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood_and_nothing_else_is() {
        let request = Request { reserved: true, memory_bytes: 1 << 31, cpu_seconds: 9, length: 77 };
        assert_eq!(request.encode().len(), REQUEST_HEAD);
        assert_eq!(Request::decode(&request.encode()), Some(request));
        let answer = Answer { kind: Kind::Refused, engine: [5; 32], length: 12 };
        assert_eq!(answer.encode().len(), ANSWER_HEAD);
        assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        // Each cut short, the one taken for the other, words without an end.
        for length in 0..ANSWER_HEAD {
            assert_eq!(Answer::decode(&answer.encode()[..length]), None);
        }
        for length in 0..REQUEST_HEAD {
            assert_eq!(Request::decode(&request.encode()[..length]), None);
        }
        assert_eq!(Answer::decode(&[request.encode(), vec![0; 64]].concat()), None);
        assert_eq!(Answer::decode(&Answer { length: MAX_WORDS + 1, ..answer }.encode()), None);
        assert_eq!(Answer::decode(&Answer { kind: Kind::Code, length: u64::MAX, ..answer }.encode()).map(|a| a.length), Some(u64::MAX));
    }
}
