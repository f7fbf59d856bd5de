//! Names of things: small copyable newtypes, and the two containers keyed by them.

use std::fmt;
use std::hash::Hash;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// A model version of the router, as an index into its list of versions.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct VersionId(pub u8);

impl VersionId {
    /// The position in lists that hold one entry a version.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The traffic's own name of a request. Every random draw is keyed by it, so a request meets the
/// same split, faults and latencies in every run of one seed, on either engine.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RequestKey(pub u64);

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The router's name of a request, unique within one process.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// One try at one upstream for a request.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct AttemptId {
    /// The request that is being tried.
    pub request: RequestId,
    /// 0 for the first attempt of the request, then 1, 2, … over all versions.
    pub n: u32,
}

/// The seed of a run: together with the scenario it decides every random draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One value a version, indexed by [`VersionId`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PerVersion<T>(Vec<T>);

impl<T> PerVersion<T> {
    /// As many values as there are `versions`, each made by `make`.
    pub fn from_fn(versions: usize, mut make: impl FnMut(VersionId) -> T) -> Self {
        Self(ids(versions).map(&mut make).collect())
    }

    /// How many versions there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is no version at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every version with its value, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (VersionId, &T)> {
        ids(self.0.len()).zip(&self.0)
    }

    /// Every version with its value, changeable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (VersionId, &mut T)> {
        ids(self.0.len()).zip(&mut self.0)
    }

    /// The values in the order of their versions.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T> FromIterator<T> for PerVersion<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> Index<VersionId> for PerVersion<T> {
    type Output = T;
    fn index(&self, version: VersionId) -> &T {
        &self.0[version.index()]
    }
}

impl<T> IndexMut<VersionId> for PerVersion<T> {
    fn index_mut(&mut self, version: VersionId) -> &mut T {
        &mut self.0[version.index()]
    }
}

/// The ids of the first `versions` versions. More than 256 versions do not exist (the
/// configuration refuses them long before), so the conversion cannot cut anything off.
fn ids(versions: usize) -> impl Iterator<Item = VersionId> {
    (0..versions).map(|i| VersionId(i as u8))
}

/// A hash map by id. It offers no iteration but a sorted one: the order of a hash table can
/// therefore never reach an action, an event or a report.
#[derive(Clone, Debug)]
pub struct IdMap<K, V>(rustc_hash::FxHashMap<K, V>);

impl<K, V> Default for IdMap<K, V> {
    fn default() -> Self {
        Self(rustc_hash::FxHashMap::default())
    }
}

impl<K: Copy + Eq + Hash + Ord, V> IdMap<K, V> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries fit before the table grows.
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// The value of `key`.
    pub fn get(&self, key: K) -> Option<&V> {
        self.0.get(&key)
    }

    /// The value of `key`, changeable.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.0.get_mut(&key)
    }

    /// The value of `key`, made by `make` when there is none yet.
    pub fn get_or_insert_with(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        self.0.entry(key).or_insert_with(make)
    }

    /// Sets the value of `key`; returns the one it replaces.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Takes the value of `key` out.
    pub fn remove(&mut self, key: K) -> Option<V> {
        self.0.remove(&key)
    }

    /// The keys in ascending order.
    pub fn sorted_keys(&self) -> Vec<K> {
        let mut keys: Vec<K> = self.0.keys().copied().collect();
        keys.sort_unstable();
        keys
    }
}
