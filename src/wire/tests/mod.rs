mod bytes;
mod generate;
mod roundtrip;
mod texts;
