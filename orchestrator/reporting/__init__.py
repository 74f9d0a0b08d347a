"""What people read: tables, progress, leaderboards, comparison, inspection, pictures and the report's page."""
