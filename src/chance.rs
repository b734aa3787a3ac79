//! The only source of chance. Everything else gets a number, or a [`Chance`].

use rand::Rng;

/// Draws numbers; cheap to clone. A test makes one that always draws the same.
#[derive(Clone, Copy, Debug)]
pub struct Chance(Option<f64>);

impl Chance {
    /// Numbers that nobody can foresee.
    #[must_use]
    pub const fn system() -> Self {
        Self(None)
    }

    /// Always `draw`, from 0 up to but not including 1.
    #[must_use]
    pub const fn fixed(draw: f64) -> Self {
        Self(Some(draw))
    }

    /// A number from 0 up to but not including 1.
    #[must_use]
    pub fn draw(self) -> f64 {
        self.0.unwrap_or_else(|| rand::rng().random())
    }
}
