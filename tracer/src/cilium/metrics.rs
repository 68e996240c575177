//! Counters of `cilium_metrics`, summed over CPUs. Cilium counts every drop here before it tries to report
//! it, so the difference of two snapshots is what a stream of drops is reconciled with.

use std::collections::BTreeMap;
use std::io;
use std::ops::{AddAssign, ControlFlow};

use tracer_common::cilium::metrics::{MetricsKey, MetricsValue};
use zerocopy::FromBytes;

use super::pins::Opened;
use super::reason::FIRST_DROP;
use super::table::Walk;
use crate::model::reason::DropReason;

/// What is counted separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MetricsRow {
    pub reason: u8,
    /// As in [`tracer_common::cilium::metrics::direction`].
    pub direction: u8,
    /// File id and line; `None` before 1.16.
    pub place: Option<(u8, u16)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub packets: u64,
    pub bytes: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    #[error("map `cilium_metrics`: cannot be read")]
    Read(#[source] io::Error),
    #[error("map `cilium_metrics`: it changed too fast to be read to its end")]
    Restless,
}

/// All counters at one time (not at one instant: the map goes on counting while it is read).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsSnapshot {
    rows: BTreeMap<MetricsRow, Count>,
}

impl MetricsSnapshot {
    pub fn read(map: &Opened) -> Result<Self, MetricsError> {
        let mut snapshot = Self::default();
        let walk = map.table.for_each(&mut |key, values| {
            snapshot.add(key, values);
            ControlFlow::Continue(())
        });
        match walk.map_err(MetricsError::Read)? {
            Walk::Complete | Walk::Stopped => Ok(snapshot),
            Walk::GaveUp => Err(MetricsError::Restless),
        }
    }

    /// A key that is shown twice counts once: the later value stands.
    pub fn add(&mut self, key: &[u8], values: &[u8]) {
        let Ok(key) = MetricsKey::read_from_bytes(key) else { return };
        let row = MetricsRow { reason: key.reason, direction: key.direction(), place: key.place() };
        self.rows.insert(row, sum(values));
    }

    pub fn rows(&self) -> impl Iterator<Item = (&MetricsRow, &Count)> {
        self.rows.iter()
    }

    /// What a row counted; zero if there is no such row.
    pub fn count(&self, row: &MetricsRow) -> Count {
        self.rows.get(row).copied().unwrap_or_default()
    }

    /// Whether the keys carry files and lines (1.16 and newer); `None` without any row.
    pub fn has_places(&self) -> Option<bool> {
        (!self.rows.is_empty()).then(|| self.rows.keys().any(|row| row.place.is_some()))
    }

    /// What was counted since `earlier`; rows without change are left out. A counter that went back (the
    /// map was made anew) counts from zero.
    pub fn delta(&self, earlier: &Self) -> Self {
        let since = |row: &MetricsRow, now: Count| {
            let before = earlier.rows.get(row).copied().unwrap_or_default();
            let before = if now.packets < before.packets { Count::default() } else { before };
            Count { packets: now.packets - before.packets, bytes: now.bytes.saturating_sub(before.bytes) }
        };
        let rows = self.rows.iter().map(|(row, now)| (*row, since(row, *now)));
        Self { rows: rows.filter(|(_, count)| count.packets != 0).collect() }
    }

    /// Totals of the drop reasons, over directions and places.
    pub fn drops_by_reason(&self) -> BTreeMap<DropReason, Count> {
        let mut totals: BTreeMap<DropReason, Count> = BTreeMap::new();
        for (row, count) in self.rows.iter().filter(|(row, _)| row.reason >= FIRST_DROP) {
            *totals.entry(DropReason(row.reason)).or_default() += *count;
        }
        totals
    }

    /// Drops in all.
    pub fn drops(&self) -> Count {
        self.drops_by_reason().into_values().fold(Count::default(), |mut total, count| {
            total += count;
            total
        })
    }
}

/// The key has the right size, and bits that no release writes are zero.
pub fn is_sound(key: &[u8]) -> bool {
    MetricsKey::read_from_bytes(key).is_ok_and(|key| key.dir == key.direction() && key.reserved == [0; 3])
}

/// One value per CPU, each of a size that needs no padding.
fn sum(values: &[u8]) -> Count {
    let mut total = Count::default();
    for value in values.chunks_exact(size_of::<MetricsValue>()) {
        if let Ok(value) = MetricsValue::read_from_bytes(value) {
            total += Count { packets: value.count, bytes: value.bytes };
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(rows: &[(u8, u8, u64, u64)]) -> MetricsSnapshot {
        let row = |r: &(u8, u8, u64, u64)| {
            let place = (r.1 != 0).then_some((2, u16::from(r.1)));
            (MetricsRow { reason: r.0, direction: 1, place }, Count { packets: r.2, bytes: r.3 })
        };
        MetricsSnapshot { rows: rows.iter().map(row).collect() }
    }

    /// A row of a running node with two CPUs (Cilium 1.17) and what its tool lists: 15 packets, 2160 bytes.
    #[test]
    fn counters_of_all_cpus_are_summed() {
        let mut found = MetricsSnapshot::default();
        let mut values = [0; 32];
        values[0] = 5;
        values[8..10].copy_from_slice(&[0x5a, 0x06]);
        values[16] = 10;
        values[24..26].copy_from_slice(&[0x16, 0x02]);
        found.add(&[0x85, 0x01, 0x36, 0x08, 0x02, 0, 0, 0], &values);
        let row = MetricsRow { reason: 133, direction: 1, place: Some((2, 2102)) };
        assert_eq!(found.rows().collect::<Vec<_>>(), [(&row, &Count { packets: 15, bytes: 2160 })]);
    }

    #[test]
    fn keys_without_place_belong_to_releases_before_1_16() {
        assert_eq!(snapshot(&[(133, 0, 1, 1)]).has_places(), Some(false));
        assert_eq!(snapshot(&[(133, 0, 1, 1), (0, 7, 1, 1)]).has_places(), Some(true));
        assert_eq!(snapshot(&[]).has_places(), None);
    }

    #[test]
    fn the_difference_holds_what_was_counted_in_between() {
        let before = snapshot(&[(133, 1, 5, 500), (0, 1, 9, 9)]);
        let after = snapshot(&[(133, 1, 7, 620), (0, 1, 9, 9), (181, 2, 1, 60)]);
        assert_eq!(after.delta(&before), snapshot(&[(133, 1, 2, 120), (181, 2, 1, 60)]));
    }

    #[test]
    fn a_map_made_anew_counts_from_zero() {
        let before = snapshot(&[(133, 1, 500, 50_000)]);
        let after = snapshot(&[(133, 1, 3, 300)]);
        assert_eq!(after.delta(&before), after);
    }

    #[test]
    fn totals_by_reason_leave_out_what_is_no_drop() {
        let found =
            snapshot(&[(0, 1, 100, 1), (9, 1, 3, 1), (133, 1, 2, 20), (133, 2, 3, 30), (181, 1, 1, 10)]);
        let totals: Vec<(u8, u64)> =
            found.drops_by_reason().into_iter().map(|(reason, count)| (reason.0, count.packets)).collect();
        assert_eq!(totals, [(133, 5), (181, 1)]);
        assert_eq!(found.drops(), Count { packets: 6, bytes: 60 });
    }
}
