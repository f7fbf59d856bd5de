//! Who is caught by what when it is served live, and who cannot be seen from outside.
