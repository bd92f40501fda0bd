//! Arrays indexed by an enum, serialized by name without zeros: `{"accept_queue_full_syn": 24}`.
//!
//! The output stays readable when members are added or reordered. An unknown name is refused, because its
//! value would be missing from the sums.

use std::{collections::BTreeMap, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use super::{DropKind, KernelCounter, LossReason, ResetCause};

/// Serialization of arrays indexed by `E`: `#[serde(with = "ByName::<E>")]`.
pub(super) struct ByName<E>(PhantomData<E>);

/// An enum that indexes arrays.
pub(super) trait Index: Copy + Ord + Serialize + DeserializeOwned + 'static {
    /// Every member, in index order.
    const MEMBERS: &'static [Self];
    /// Returns the index of this member's value.
    fn index(self) -> usize;
}

macro_rules! index {
    ($($name:ty),+) => {$(
        impl Index for $name {
            const MEMBERS: &'static [Self] = &Self::ALL;

            fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

index!(DropKind, ResetCause, KernelCounter, LossReason);

impl<E: Index> ByName<E> {
    pub(super) fn serialize<T, S, const N: usize>(values: &[T; N], serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Default + PartialEq + Serialize,
        S: Serializer,
    {
        let named = E::MEMBERS.iter().zip(values);
        serializer.collect_map(named.filter(|(_, value)| **value != T::default()))
    }

    pub(super) fn deserialize<'de, T, D, const N: usize>(deserializer: D) -> Result<[T; N], D::Error>
    where
        T: Copy + Default + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let mut values = [T::default(); N];
        for (name, value) in BTreeMap::<E, T>::deserialize(deserializer)? {
            if let Some(place) = values.get_mut(name.index()) {
                *place = value;
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Counts, DropKind, Handshakes, KernelCounter};

    #[test]
    fn counts_are_written_by_name_and_read_back_the_same() {
        let counts = Counts::from_fn(
            |kind| if kind == DropKind::OtherAck { 7 } else { 0 },
            |cause| cause as u64,
            |counter| if counter == KernelCounter::OutRsts { u64::MAX } else { 0 },
        )
        .with_handshakes(Handshakes { ghosts: 3, ..Handshakes::default() });
        let written = serde_json::to_string(&counts).expect("it is written");
        assert!(written.contains(r#""drops":{"other_ack":7}"#), "{written}");
        assert_eq!(serde_json::from_str::<Counts>(&written).expect("it is read"), counts);
        assert_eq!(
            serde_json::to_string(&Counts::default()).expect("it is written"),
            r#"{"drops":{},"resets":{},"kernel":{}}"#
        );
    }

    #[test]
    fn a_name_nobody_knows_is_refused_rather_than_left_out_of_the_sum() {
        let error = serde_json::from_str::<Counts>(r#"{"drops":{"hiccup":1}}"#).expect_err("it is not known");
        assert!(error.to_string().contains("hiccup"), "{error}");
    }
}
