"""What is sent to collectors: traces, metrics and logs. A client library is loaded if a collector is configured."""
