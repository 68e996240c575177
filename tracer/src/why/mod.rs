//! What a question about two ends has as an answer, in plain values, and what follows from it without asking
//! anybody: which labels tell two identities apart, and the narrowest policy that would allow the packet. Reads
//! nothing; [`crate::pipeline`] asks the node, [`crate::output`] speaks.

pub mod answer;
pub mod brief;
pub mod labels;
pub mod suggest;
pub mod words;
