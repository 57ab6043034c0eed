"""The engine void."""
