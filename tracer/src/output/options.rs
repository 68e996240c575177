//! How events are to be printed.

use super::groups::GroupKey;
use super::time::TimeFormat;

/// Everything that a [`super::Printer`] is told about form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    pub format: Format,
    pub time_format: TimeFormat,
    /// UTC instead of the local time zone (text formats; JSON is always UTC).
    pub utc: bool,
    /// Pod and DNS names instead of addresses (text formats).
    pub names: bool,
    /// Print the node's name (text formats).
    pub node_name: bool,
    /// Count events by these instead of printing each; none: print each.
    pub group_by: Vec<GroupKey>,
    /// Not only drops: for the words of [`Self::group_by`].
    pub flows: bool,
    /// Colour, already decided: see [`super::color::decide`].
    pub color: bool,
}

/// The shape of the event stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One line per event, as Hubble prints it.
    #[default]
    Compact,
    /// Several `KEY: value` lines per event.
    Dict,
    /// Columns.
    Table,
    /// JSON lines: [`Self::Jsonpb`] plus the key `tracer`.
    Json,
    /// JSON lines in the shape of Hubble's `GetFlowsResponse`.
    Jsonpb,
}

impl Format {
    /// All accepted spellings.
    pub const NAMES: [&'static str; 7] = ["compact", "dict", "table", "json", "jsonpb", "tab", "JSON"];

    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "compact" => Self::Compact,
            "dict" => Self::Dict,
            "table" | "tab" => Self::Table,
            "json" | "JSON" => Self::Json,
            "jsonpb" => Self::Jsonpb,
            _ => return None,
        })
    }

    /// Whether other output, such as the closing summary, is to be JSON too.
    pub const fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonpb)
    }
}
