"""The operators' page: what each view shows, in words and figures. Reads only, and knows neither Airflow nor HTML."""
