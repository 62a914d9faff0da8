//! Making a counterexample small: what can be left out is left out, as long as the two sides still differ.

use super::Comparison;
use super::generate::Sample;
use super::tree::{Entry, Tree, remove};

/// How often the manager is made to reload for one counterexample.
const ROUNDS: usize = 60;
/// How many smaller samples one reload tries.
const AT_ONCE: usize = 200;

impl Comparison<'_> {
    /// Compare the units of samples; returns for each sample what differs first.
    pub fn try_samples(&self, samples: &[Sample], shared: &Tree) -> Vec<Option<String>> {
        let root = self.bed.root();
        let mut made = shared.write(&root);
        for sample in samples {
            made.extend(sample.tree.write(&root));
        }
        self.bed.run(&["systemctl", "daemon-reload"]);
        let units: Vec<String> = samples.iter().flat_map(|sample| sample.units.clone()).collect();
        let differences = self.differences(&units);
        remove(&made);
        let of = |sample: &Sample| differences.iter().find(|d| sample.units.contains(&d.unit));
        samples.iter().map(|sample| of(sample).map(|d| d.text.clone())).collect()
    }

    /// The smallest sample found in which the two sides still differ, and how they do.
    pub fn shrink(&self, sample: &Sample, shared: &Tree, why: &str) -> (Sample, Tree, String) {
        let mut best = sample.clone();
        let mut shared = shared.clone();
        let mut text = why.to_owned();
        if let Some(found) = self.try_samples(&[best.clone()], &Tree::default()).remove(0) {
            (shared, text) = (Tree::default(), found);
        }
        for _ in 0..ROUNDS {
            let mut smaller = smaller(&best);
            let mut found = None;
            while found.is_none() && !smaller.is_empty() {
                let rest = smaller.split_off(smaller.len().min(AT_ONCE));
                let renamed: Vec<Sample> = smaller
                    .iter()
                    .enumerate()
                    .map(|(index, sample)| sample.renamed(&format!("s{index:05}")))
                    .collect();
                let results = self.try_samples(&renamed, &shared);
                found = smaller.into_iter().zip(results).find_map(|(s, text)| Some((s, text?)));
                smaller = rest;
            }
            match found {
                Some((sample, why)) => (best, text) = (sample, why),
                None => break,
            }
        }
        (best, shared, text)
    }
}

/// Everything that is a bit less, the greatest steps first.
fn smaller(sample: &Sample) -> Vec<Sample> {
    let mut out = Vec::new();
    for unit in sample.units.iter().filter(|_| sample.units.len() > 1) {
        let units = sample.units.iter().filter(|other| *other != unit).cloned().collect();
        out.push(Sample { units, ..sample.clone() });
    }
    for path in sample.tree.0.keys() {
        let mut less = sample.clone();
        less.tree.0.remove(path);
        out.push(less);
    }
    let files = sample.tree.0.iter().filter_map(|(path, entry)| match entry {
        Entry::File(bytes) => Some((path, bytes)),
        _ => None,
    });
    for by in [b'\n', b' '] {
        for (path, bytes) in files.clone() {
            let parts: Vec<&[u8]> = bytes.split_inclusive(|b| *b == by).collect();
            for left_out in (0..parts.len()).filter(|_| parts.len() > 1) {
                let parts = parts.iter().enumerate().filter(|(index, _)| *index != left_out);
                let bytes: Vec<u8> = parts.flat_map(|(_, part)| part.to_vec()).collect();
                let mut less = sample.clone();
                less.tree.0.insert(path.clone(), Entry::File(bytes));
                out.push(less);
            }
        }
    }
    out
}
