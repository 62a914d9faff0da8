use super::*;
pub struct Sighting {
    pub denial: Denial,
    pub count: usize,
    pub first: Option<u64>,
    pub last: Option<u64>,
}
pub fn summary(_: &[Denial]) -> Vec<Sighting> {
    todo!()
}
