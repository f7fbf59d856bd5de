//! What the usual suite asks: three scenarios on both engines, and that the page says what was measured.
