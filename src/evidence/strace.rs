pub struct Read {
    pub denials: Vec<super::Denial>,
    pub notes: Vec<String>,
}
pub fn denials(_: impl std::io::BufRead, _: &crate::policy::Policy) -> std::io::Result<Read> {
    todo!()
}
